"""What a training saves, and goes on from."""

from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from torch import nn

from maxl_sr.adaptation.checkpoint import with_rates
from maxl_sr.meta import InnerRates


class SavingModel(SRModel):
    """``SRModel`` whose checkpoints hold a mask network, and learned inner rates beside the weights.

    Attributes:
        net_m: The mask network; None: there is none.
        inner_rates: The rates; None: there are none.
        optimizers: All optimizers.
    """

    net_m: nn.Module | None
    inner_rates: InnerRates | None
    optimizers: list[torch.optim.Optimizer]

    def save_network(self, net: Any, net_label: str, current_iter: int, param_key: Any = 'params') -> None:
        if net_label == 'net_g' and self.inner_rates is not None:
            net, param_key = with_rates(net, param_key, self.inner_rates)
        super().save_network(net, net_label, current_iter, param_key)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        super().resume_training(resume_state)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:  # a CUDA graph sets it; the training may go on without
                group['capturable'] = False
            if not any(group.get('fused') for group in optimizer.param_groups):
                for state in optimizer.state.values():  # from a device it would be fetched for every weight and step
                    if 'step' in state:
                        state['step'] = state['step'].cpu()

    def save(self, epoch: int, current_iter: int) -> None:
        """Save ``net_g_*.pth``, ``net_m_*.pth`` and, last, the training state that names them."""
        if self.net_m is not None:
            self.save_network(self.net_m, 'net_m', current_iter)
        super().save(epoch, current_iter)
