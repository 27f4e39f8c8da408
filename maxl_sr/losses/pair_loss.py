"""What the objectives share that restore a degraded copy whose target is known."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from maxl_sr.losses.masked_reconstruction_loss import masked_reconstruction_loss
from maxl_sr.meta.objective import Heads, restore


class Pair(NamedTuple):
    """A degraded copy with its target, as an objective prepares it.

    Attributes:
        features: Features of the copy.
        copy: The degraded copy.
        target: What is to be restored from it, ``(B, C, h, w)``.
        active: ``(B, 1, 1, 1)``: 0 where an image is left alone, else 1.
    """

    features: Tensor
    copy: Tensor
    target: Tensor
    active: Tensor


def pair_loss(heads: Heads, prepared: Pair, mask: Tensor | None, criterion: str,
              centred: bool = False) -> Tensor:
    """Return the masked loss between what is restored from a copy and its target.

    Args:
        heads: As an objective has them.
        prepared: The pair.
        mask: Mask ``(B, 1, H, W)`` of the image, which is resized to the target; or None.
        criterion: 'l1', 'l2' or 'charbonnier'.
        centred: Whether the mean of the difference, of every image and channel, is taken from it first.
    """
    features, copy, target, active = prepared
    weight = active.expand(-1, -1, *target.shape[-2:])
    if mask is not None:
        weight = weight * F.interpolate(mask, size=target.shape[-2:], mode='bilinear', align_corners=False)
    restored = restore(heads, features, copy)
    if centred:
        restored = restored - (restored - target).mean((-2, -1), keepdim=True)
    return masked_reconstruction_loss(restored, target, weight, criterion)
