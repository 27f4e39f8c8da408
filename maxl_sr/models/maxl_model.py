"""Stage 1: meta-auxiliary learning."""

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor

from maxl_sr.archs.mask_arch import mask_of
from maxl_sr.errors import UserError
from maxl_sr.meta import maxl_loss, primary_and_auxiliary_loss
from maxl_sr.models.adaptive_model import AdaptiveModel
from maxl_sr.models.options import Options, maxl_options
from maxl_sr.models.outer_step import Losses
from maxl_sr.settings.adaptation import VirtualStep


@MODEL_REGISTRY.register()
class MAXLModel(AdaptiveModel):
    """Stage 1, meta-auxiliary learning (Algorithm 1 of arXiv 2207.02066): trains network and mask network in turn.

    ``train: alternate_every`` iterations (or an epoch) are of loop (a), as many of (b), and so on. (a) trains the
    multi-task network on L_pri (``pixel_opt``) + L_aux (``aux_opt``); (b) trains the mask network on L_pri after a
    virtual step (``inner: lr``) + L_G (``mask_opt``). Without ``network_m`` every iteration is (a) with the plain
    auxiliary loss; without ``aux_opt`` with L_pri alone.

    The keys are those of :class:`~maxl_sr.settings.training.MAXLTrain`.
    """

    options: Options[VirtualStep]

    @classmethod
    def check_options(cls, opt: Mapping[str, Any]) -> Options[VirtualStep]:
        return maxl_options(opt)

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        with warnings.catch_warnings():  # the mask network's optimiser first steps in loop (b), its scheduler before
            warnings.filterwarnings('ignore', 'Detected call of `lr_scheduler.step')
            super().update_learning_rate(current_iter, warmup_iter)

    def setup_optimizers(self) -> None:
        super().setup_optimizers()
        self._multi_task_step = self.outer_step(self._multi_task_gradients, [self.net_g], [self.optimizer_g])
        if self.optimizer_m is not None:
            self._alternate_every = self._iterations_of_a_loop()
            self._mask_step = self.outer_step(self._mask_gradients, [self.net_m], [self.optimizer_m])

    def _iterations_of_a_loop(self) -> int:
        every = self.opt['train']['alternate_every']
        if every != 'epoch':
            return int(every)
        iterations = self.opt['datasets']['train'].get('epoch_iterations')
        if iterations is None:
            raise UserError("train: alternate_every: epoch needs a loader of BasicSR's build_dataloader, which counts "
                            'its batches; give a number of iterations')
        return int(iterations)

    def optimize_parameters(self, current_iter: int) -> None:
        self.current_iter = current_iter
        meta = self.net_m is not None and (current_iter - 1) // self._alternate_every % 2
        losses = (self._mask_step if meta else self._multi_task_step)(self.lq, self.gt)
        self.log_dict = self.reduce_loss_dict(losses)

    def _multi_task_gradients(self, lq: Tensor, gt: Tensor) -> Losses:
        """Leave the gradient of loop (a)."""
        with self.autocast():
            mask = None
            if self.net_m is not None:
                with torch.no_grad():
                    mask = mask_of(self.net_m, self.net_g, lq)
            l_pix, l_aux = primary_and_auxiliary_loss(self.net_g, self.objective, self.cri_pix, lq, gt, mask)
        (l_pix + l_aux).backward()
        self.reduce_gradients(self.net_g)
        return OrderedDict(l_pix=l_pix.detach(), l_aux=l_aux.detach())

    def _mask_gradients(self, lq: Tensor, gt: Tensor) -> Losses:
        """Leave the gradient of loop (b)."""
        assert self.objective is not None
        with self.autocast():
            mask = self.mask_with_graph(lq)
            assert mask is not None
            losses = OrderedDict(l_pix_virtual=maxl_loss(self.net_g, self.objective, self.cri_pix, lq, gt, mask,
                                                         lr=self.options.inner.lr, average=self.reduce_tensors))
            if self.cri_mask is not None:
                losses['l_mask'] = self.cri_mask(mask, lq)
        torch.stack(list(losses.values())).sum().backward()
        self.reduce_gradients(self.net_m)
        losses['mask_mean'] = mask.mean()
        return OrderedDict((name, value.detach()) for name, value in losses.items())
