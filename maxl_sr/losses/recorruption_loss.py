"""Recorruption objective: restore the restored image again, with the noise of the image itself put elsewhere."""

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.loss_util import check_choice
from maxl_sr.losses.masked_reconstruction_loss import CRITERIA, masked_reconstruction_loss
from maxl_sr.losses.patches import patches
from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads


def noise_level(noise: Tensor, image: Tensor) -> Tensor:
    """Return the standard deviation ``(B, C, H, W)`` of `noise` as a function of `image`: σ² = a + b·x, least squares.

    The signal-dependent noise of a sensor is of this form (Foi et al. 2008); a and b are of each image and channel.
    """
    square, x = noise.square().flatten(2), image.flatten(2)
    mean, centre = square.mean(-1, keepdim=True), x.mean(-1, keepdim=True)
    slope = ((x - centre) * (square - mean)).mean(-1, keepdim=True) / ((x - centre).square().mean(-1, keepdim=True) + 1e-6)
    variance = mean + slope * (x - centre)
    return torch.maximum(variance, mean * 0.1).clamp(min=1e-8).sqrt().view_as(image)


def recorrupt(y: Tensor, restored: Tensor, seed: int = 0, match: bool = True) -> Tensor:
    """Return `restored` with the noise ``y − restored`` of another place: mirrored and shifted around.

    Args:
        y: Noisy images ``(B, C, H, W)``.
        restored: Estimates of the clean images, of the same shape.
        seed: Another seed, another shift.
        match: Whether the noise is scaled to the level that fits its new place, see :func:`noise_level`.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = y.shape[-2:]
    noise = y - restored
    if match:
        level = noise_level(noise, restored)
        noise = noise / level
    mirrored = [dim for dim in (-2, -1) if torch.rand((), generator=generator) < 0.5]
    shift = [int(side * (0.25 + 0.5 * torch.rand((), generator=generator))) for side in (height, width)]
    noise = torch.roll(noise.flip(mirrored), shift, (-2, -1))
    return (restored + (noise * level if match else noise)).clamp(0, 1)


@LOSS_REGISTRY.register()
class RecorruptionLoss(nn.Module):
    def __init__(self, loss_weight: float = 1.0, criterion: str = 'l1', patch_size: int = 128, num_patch: int = 0,
                 num_copy: int = 1, match: bool = True, seed: int = 0) -> None:
        super().__init__()
        check_choice('criterion', criterion, CRITERIA)
        self.loss_weight, self.criterion = loss_weight, criterion
        self.patch_size, self.num_patch, self.num_copy = patch_size, num_patch, num_copy
        self.match, self.seed = match, seed

    def _patches(self, images: Tensor) -> Tensor:
        return patches(images, self.patch_size, self.num_patch, self.seed)

    def prepare(self, net: BoundNet, y: Tensor) -> tuple[Tensor, ...]:
        restored = net.restored().detach().to(y.dtype).clamp(0, 1)
        with torch.no_grad():
            copies = [self._patches(recorrupt(y, restored, self.seed + copy, self.match)) for copy in range(self.num_copy)]
            copy = torch.cat(copies, 1)
            target = self._patches(restored)
        features = net.forward_features(copy.flatten(0, 1))
        return features.unflatten(0, copy.shape[:2]), copy, target

    def loss(self, heads: Heads, prepared: tuple[Tensor, ...], mask: Tensor | None) -> Tensor:
        features, copy, target = prepared
        restored = heads(features.flatten(0, 1), copy.flatten(0, 1))[0]
        weight = None if mask is None else self._patches(mask).repeat(1, self.num_copy, 1, 1, 1).flatten(0, 1)
        target = target.repeat(1, self.num_copy, 1, 1, 1).flatten(0, 1)
        return self.loss_weight * masked_reconstruction_loss(restored, target, weight, self.criterion)
