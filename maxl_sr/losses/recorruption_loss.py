"""Recorruption objective: restore the restored image again, with its own noise shifted to another place."""

from typing import NamedTuple

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.loss_util import check_choice, check_integer
from maxl_sr.losses.masked_reconstruction_loss import CRITERIA, Criterion, masked_reconstruction_loss
from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads, restore

GRID = 8  # of JPEG and, its divisor, of the Bayer mosaic: shifted by multiples of it the noise keeps its structure


def recorrupt(y: Tensor, restored: Tensor, seed: int = 0) -> Tensor:
    """Return `restored` with the noise ``y − restored`` of another place, in [0, 1].

    The noise is shifted around by a quarter to three quarters of the image.

    Args:
        y: Noisy images ``(B, C, H, W)``.
        restored: Estimates of the clean images, of the same shape.
        seed: Another seed, another shift.
    """
    part = 0.25 + 0.5 * torch.rand(2, generator=torch.Generator().manual_seed(seed))
    shift = [round(side * share / GRID) * GRID for side, share in zip(y.shape[-2:], part.tolist())]
    return (restored + torch.roll(y - restored, shift, (-2, -1))).clamp(0, 1)


class Recorrupted(NamedTuple):
    """What :class:`RecorruptionLoss` prepares: features of the recorrupted image, this image, and its target t."""

    features: Tensor
    copy: Tensor
    target: Tensor


@LOSS_REGISTRY.register()
class RecorruptionLoss(nn.Module):
    """Inner objective for noise: the restored image gets the noise that was removed, in other places, and is restored.

    ``loss_weight · mean |x̂(t + n̂) − t| ⊙ M``, t the restored image and n̂ its noise elsewhere. The network learns to
    remove the very noise of the image from the very image (arXiv 2003.04279). t and n̂, see :func:`recorrupt`, are
    those of the weights to begin with, and constants. Noise that the network does not remove counts as a part of the
    image here; ``NoiseTransplantLoss`` finds it.

    Args:
        loss_weight: Factor of the loss.
        criterion: Distance of two values: absolute ('l1'), squared ('l2') or ``sqrt(d² + 1e-12)`` ('charbonnier').
        seed: Seed of the shift.

    Raises:
        ValueError: An argument is none of its choices or of the wrong type.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.meta import Task, adapt
        >>> objective = RecorruptionLoss()
        >>> task = Task(MultiTaskNet(num_feat=8), objective, torch.rand(1, 3, 32, 32), mask=None)
        >>> for weights, loss in adapt(task, steps=2, lr=1e-3, optimizer='adam'):
        ...     pass
        >>> task.restored(weights).shape
        torch.Size([1, 3, 32, 32])
    """

    same_size = True  # x̂ and y are compared

    def __init__(self, loss_weight: float = 1.0, criterion: Criterion = 'l1', seed: int = 0) -> None:
        super().__init__()
        check_choice('criterion', criterion, CRITERIA)
        check_integer('seed', seed)
        self.loss_weight, self.criterion, self.seed = loss_weight, criterion, seed

    def prepare(self, net: BoundNet, y: Tensor) -> Recorrupted:
        """Return the recorrupted image and its target t."""
        restored = net.restored().detach().to(y.dtype).clamp(0, 1)
        copy = recorrupt(y, restored, self.seed)
        return Recorrupted(net.forward_features(copy), copy, restored)

    def loss(self, heads: Heads, prepared: Recorrupted, mask: Tensor | None) -> Tensor:
        """Return the loss between what is restored from the recorrupted image and t."""
        features, copy, target = prepared
        restored = restore(heads, features, copy)
        return self.loss_weight * masked_reconstruction_loss(restored, target, mask, self.criterion)
