"""Blind-spot objective: predict pixels that the network has not seen (Noise2Void, arXiv 1811.10980)."""

from typing import NamedTuple

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.loss_util import check_choice, check_integer
from maxl_sr.losses.masked_reconstruction_loss import CRITERIA, Criterion, masked_reconstruction_loss
from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads, restore
from maxl_sr.settings.types import Count, ShareAbove0
from maxl_sr.utils.by_size import BySize


@BySize
def _pattern(height: int, width: int, ratio: float, radius: int, seed: int, device: torch.device) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    count = max(round(ratio * height * width), 1)
    replaced = torch.randperm(height * width, generator=generator)[:count]
    side = 2 * radius + 1
    window = torch.randint(side * side - 1, (count, ), generator=generator)
    window += window >= side * side // 2  # the pixel itself is no neighbour

    def neighbour(position: Tensor, shift: Tensor, size: int) -> Tensor:
        inside = (position + shift >= 0) & (position + shift < size)
        return torch.where(inside, position + shift, position - shift).clamp(0, size - 1)

    rows = neighbour(replaced // width, window // side - radius, height)
    columns = neighbour(replaced % width, window % side - radius, width)
    source = torch.arange(height * width)
    source[replaced] = rows * width + columns
    blind = torch.zeros(height * width)
    blind[replaced] = 1
    return source.to(device), blind.view(1, 1, height, width).to(device)


def hide_pixels(y: Tensor, ratio: float = 0.05, radius: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return `y` with some pixels replaced by random neighbours, and where: ``(B, 1, H, W)``, 1 at these pixels.

    The same pixels, from the seed and the size alone, in every image of a batch and in every call; at least one.

    Args:
        y: Images ``(B, C, H, W)``.
        ratio: Share of the pixels, in (0, 1].
        radius: Neighbours are at most so many pixels away in each direction.
        seed: Another seed, other pixels.
    """
    height, width = y.shape[-2:]
    source, blind = _pattern(height, width, ratio, radius, seed, y.device)
    return y.flatten(2)[..., source].view(y.shape), blind.to(y.dtype).expand(len(y), -1, -1, -1)


class BlindSpots(NamedTuple):
    """What :class:`BlindSpotLoss` prepares: features of ỹ, ỹ, y, and 1 where pixels were replaced, else 0."""

    features: Tensor
    hidden: Tensor
    y: Tensor
    blind: Tensor


@LOSS_REGISTRY.register()
class BlindSpotLoss(nn.Module):
    """Inner objective for noise: the network predicts pixels that are hidden from it (Noise2Void).

    ``loss_weight · mean |x̂(ỹ) − y| ⊙ M`` over the pixels that :func:`hide_pixels` replaced in ỹ. A network that does
    not see a pixel cannot reproduce its noise, so what it predicts there is compared with the noisy pixel itself (arXiv
    1811.10980). The mean is over the replaced pixels, whatever the mask.

    Args:
        loss_weight: Factor of the loss.
        criterion: Distance of two values: absolute ('l1'), squared ('l2') or ``sqrt(d² + 1e-12)`` ('charbonnier').
        ratio: Share of the pixels that are replaced, in (0, 1].
        radius: How far away the neighbours are that replace them, in pixels, at most; at least 1.
        seed: Seed of the choice.

    Raises:
        ValueError: An argument is none of its choices or out of range.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.meta import Task, adapt
        >>> objective = BlindSpotLoss()
        >>> task = Task(MultiTaskNet(num_feat=8), objective, torch.rand(1, 3, 32, 32), mask=None)
        >>> for weights, loss in adapt(task, steps=2, lr=1e-3, optimizer='adam'):
        ...     pass
        >>> task.restored(weights).shape
        torch.Size([1, 3, 32, 32])
    """

    same_size = True  # x̂ and y are compared

    def __init__(self, loss_weight: float = 1.0, criterion: Criterion = 'l1', ratio: ShareAbove0 = 0.05,
                 radius: Count = 2, seed: int = 0) -> None:
        super().__init__()
        check_choice('criterion', criterion, CRITERIA)
        if not 0 < ratio <= 1:
            raise ValueError(f'ratio must be greater than 0 and at most 1, not {ratio!r}')
        check_integer('radius', radius, 1)
        check_integer('seed', seed)
        self.loss_weight, self.criterion = loss_weight, criterion
        self.ratio, self.radius, self.seed = ratio, radius, seed

    def prepare(self, net: BoundNet, y: Tensor) -> BlindSpots:
        """Return the image with replaced pixels and where they are."""
        hidden, blind = hide_pixels(y, self.ratio, self.radius, self.seed)
        return BlindSpots(net.forward_features(hidden), hidden, y, blind)

    def loss(self, heads: Heads, prepared: BlindSpots, mask: Tensor | None) -> Tensor:
        """Return the loss between the image restored from ỹ and y at the replaced pixels."""
        features, hidden, y, blind = prepared
        pixels = blind.shape[-2] * blind.shape[-1]
        replaced = max(round(self.ratio * pixels), 1)
        weight = blind if mask is None else blind * mask
        mean = masked_reconstruction_loss(restore(heads, features, hidden), y, weight, self.criterion)
        return self.loss_weight * mean * (pixels / replaced)
