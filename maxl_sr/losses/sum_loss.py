"""A sum of losses where an option file has room for one."""

from collections.abc import Sequence
from typing import Any

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.utils.options import check_loss


@LOSS_REGISTRY.register()
class SumLoss(nn.Module):
    """Sum of losses of two images, as the ``pixel_opt`` of any model.

    Args:
        losses: Sections of an option file, each with ``type`` and arguments of a registered loss.

    Raises:
        ValueError: There are no losses.
        UserError: One is unknown, refuses an argument, or does not make one number of two images.
    """

    def __init__(self, losses: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        if not isinstance(losses, Sequence) or isinstance(losses, str) or not losses:
            raise ValueError(f'losses must be a list of sections, not {losses!r}')
        self.losses = nn.ModuleList(check_loss(f'losses[{i}]', section) for i, section in enumerate(losses))

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the sum of the losses of `pred` against `target`, both ``(B, C, H, W)``."""
        return torch.stack([loss(pred, target) for loss in self.losses]).sum()
