"""The gradient loss that keeps the mask from collapsing (arXiv 2207.02066, eq. 3)."""

import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.loss_util import REDUCTIONS, Reduction, check_choice, reduce

_LUMA = (0.299, 0.587, 0.114)


def two_direction_gradient_loss(mask: Tensor, image: Tensor, reduction: str = 'mean') -> Tensor:
    """``mean |Hx M − Hx y| + mean |Hy M − Hy y|`` with forward differences Hx, Hy, eq. 3 of 2207.02066.

    A one-channel mask is compared with the luma (ITU-R BT.601) of a colour image, otherwise channel by channel. A
    direction in which the image is one pixel wide has no differences and adds 0.

    Args:
        mask: ``(B, 1, H, W)`` or ``(B, C, H, W)``.
        image: RGB image ``(B, 3, H, W)`` in [0, 1], or any image of the mask's channels.
        reduction: 'mean', 'sum', or 'none': element-wise ``(B, C, H, W)``, both directions added, 0 where a pixel has
            no next one.

    Raises:
        ValueError: Shapes do not match, or `reduction` is none of its choices.
    """
    check_choice('reduction', reduction, REDUCTIONS)
    if mask.shape[1] == 1 and image.shape[1] == 3:
        channels: tuple[Tensor, ...] = image.split(1, dim=1)
        red, green, blue = (weight * channel for weight, channel in zip(_LUMA, channels))
        image = red + green + blue
    if mask.shape != image.shape:
        raise ValueError(f'mask {tuple(mask.shape)} and image {tuple(image.shape)} must have the same shape, '
                         'or the mask one channel and the image three')
    difference = mask - image  # the operators are linear
    dx = difference.diff(dim=-1).abs()
    dy = difference.diff(dim=-2).abs()
    if reduction == 'none':
        return F.pad(dx, (0, 1)) + F.pad(dy, (0, 0, 0, 1))
    total = difference.new_zeros(())
    for direction in (dx, dy):
        if direction.numel():
            total = total + reduce(direction, reduction)
    return total


@LOSS_REGISTRY.register()
class TwoDirectionGradientLoss(nn.Module):
    """L_G: the gradients of the mask, across and down, should be those of the image; for ``mask_opt``.

    ``loss_weight · (mean |Hx M − Hx y| + mean |Hy M − Hy y|)``, called with (M, y); see
    :func:`two_direction_gradient_loss`.

    Args:
        loss_weight: Factor of the loss (λ_G).
        reduction: 'mean' or 'sum' over the pixels; 'none' is not for a training.

    Raises:
        ValueError: `reduction` is none of its choices; in the call, shapes do not match.

    Examples:
        >>> import torch
        >>> ramp = torch.arange(4.).expand(1, 1, 4, 4)  # a slope of 1 across, none down
        >>> TwoDirectionGradientLoss()(torch.zeros(1, 1, 4, 4), ramp)
        tensor(1.)
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = 'mean') -> None:
        super().__init__()
        check_choice('reduction', reduction, REDUCTIONS)
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, mask: Tensor, image: Tensor) -> Tensor:
        """Return the loss of `mask` ``(B, 1, H, W)`` against `image` ``(B, C, H, W)``."""
        return self.loss_weight * two_direction_gradient_loss(mask, image, self.reduction)
