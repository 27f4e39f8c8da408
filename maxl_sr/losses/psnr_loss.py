"""The negative PSNR as a loss: every image counts by what it gains in decibels."""

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.settings.types import Positive


def psnr_loss(pred: Tensor, target: Tensor, floor: float = 1e-5) -> Tensor:
    """``mean over the images of 10 log₁₀(MSE + floor)``: the negative PSNR in dB, for images in [0, 1].

    The loss of an image with little noise weighs as much as that of one with much; under L1 and L2 the latter decides.

    Args:
        pred: ``(B, C, H, W)``.
        target: ``(B, C, H, W)``.
        floor: Added to the mean square error; 1e-5 is 50 dB, beyond which nothing is gained.
    """
    error = (pred - target).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(error + floor).mean()


@LOSS_REGISTRY.register()
class PSNRLoss(nn.Module):
    """``loss_weight · mean 10 log₁₀(MSE + floor)``, see :func:`psnr_loss`; for ``pixel_opt``.

    Args:
        loss_weight: Factor of the loss. Its gradient at an error of 0.03 is that of L1 for 0.0035.
        floor: Least mean square error, above 0.

    Raises:
        ValueError: `floor` is not above 0.

    Examples:
        >>> PSNRLoss()(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1)).round()
        tensor(-20.)
    """

    def __init__(self, loss_weight: float = 1.0, floor: Positive = 1e-5) -> None:
        super().__init__()
        if not floor > 0:
            raise ValueError(f'floor must be above 0, not {floor!r}')
        self.loss_weight = loss_weight
        self.floor = floor

    def forward(self, pred: Tensor, target: Tensor, weight: None = None) -> Tensor:
        """Return the loss of ``(B, C, H, W)`` images; there are no weights of pixels."""
        return self.loss_weight * psnr_loss(pred, target, self.floor)
