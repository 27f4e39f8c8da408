"""Neighbor2Neighbor objective: two half-size images of one noisy image (arXiv 2101.02824)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.loss_util import check_choice, check_integer
from maxl_sr.losses.masked_reconstruction_loss import CRITERIA, Criterion, masked_reconstruction_loss
from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads, restore
from maxl_sr.settings.types import NotNegative
from maxl_sr.utils.by_size import BySize

# Pairs of neighbours in a cell of 2×2 pixels, counted row by row
PAIRS = torch.tensor([(0, 1), (0, 2), (1, 0), (1, 3), (2, 0), (2, 3), (3, 1), (3, 2)])


@BySize
def _choice(height: int, width: int, seed: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    pairs = PAIRS[torch.randint(len(PAIRS), (height * width, ), generator=generator)]
    return F.one_hot(pairs, 4).permute(1, 2, 0).reshape(2, 1, 1, 4, height, width).to(device)


def neighbors(image: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return two images ``(B, C, H//2, W//2)`` of neighbouring pixels, one pair from each 2×2 cell of `image`.

    The same pixels in every image of a batch and in every call with one seed; an odd last row or column is left out.
    """
    height, width = (side // 2 for side in image.shape[-2:])
    cells = F.pixel_unshuffle(image[..., :2 * height, :2 * width], 2).unflatten(1, (image.shape[1], 4))
    first, second = _choice(height, width, seed, image.device).to(image.dtype)
    return (cells * first).sum(2), (cells * second).sum(2)


class Neighbors(NamedTuple):
    """What :class:`Neighbor2NeighborLoss` prepares: features of y₁, y₁, y₂, and the expected difference d₀, if any."""

    features: Tensor
    first: Tensor
    second: Tensor
    difference: Tensor | None


@LOSS_REGISTRY.register()
class Neighbor2NeighborLoss(nn.Module):
    """Inner objective for noise: of two images made of neighbouring pixels, one is the noisy target for the other.

    ``loss_weight · mean (|d| + consistency · |d − d₀|) ⊙ M`` with ``d = x̂(y₁) − y₂``. y₁ and y₂ are the half-size
    images of :func:`neighbors`, whose noise is independent if that of the pixels is; so the one is a noisy target for
    the other (arXiv 2101.02824). d₀ is the same difference of the restored image, ``x̂(y)₁ − x̂(y)₂`` at the weights to
    begin with, a constant: it allows for the neighbours' not being equal.

    Args:
        loss_weight: Factor of the loss.
        criterion: Distance of two values: absolute ('l1'), squared ('l2') or ``sqrt(d² + 1e-12)`` ('charbonnier').
        consistency: Weight of the second term, γ in the paper.
        seed: Seed of the choice of the neighbours.

    Raises:
        ValueError: An argument is none of its choices or out of range.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.meta import Task, adapt
        >>> objective = Neighbor2NeighborLoss()
        >>> task = Task(MultiTaskNet(num_feat=8), objective, torch.rand(1, 3, 32, 32), mask=None)
        >>> for weights, loss in adapt(task, steps=2, lr=1e-3, optimizer='adam'):
        ...     pass
        >>> task.restored(weights).shape
        torch.Size([1, 3, 32, 32])
    """

    same_size = True  # x̂ and y are compared

    def __init__(self, loss_weight: float = 1.0, criterion: Criterion = 'l1', consistency: NotNegative = 1.0,
                 seed: int = 0) -> None:
        super().__init__()
        check_choice('criterion', criterion, CRITERIA)
        if not consistency >= 0:
            raise ValueError(f'consistency must be at least 0, not {consistency!r}')
        check_integer('seed', seed)
        self.loss_weight, self.criterion, self.consistency, self.seed = loss_weight, criterion, consistency, seed

    def prepare(self, net: BoundNet, y: Tensor) -> Neighbors:
        """Return the two images and, with `consistency`, d₀."""
        first, second = neighbors(y, self.seed)
        difference = None
        if self.consistency:
            restored = neighbors(net.restored().detach().to(y.dtype), self.seed)
            difference = restored[0] - restored[1]
        return Neighbors(net.forward_features(first), first, second, difference)

    def loss(self, heads: Heads, prepared: Neighbors, mask: Tensor | None) -> Tensor:
        """Return the loss between the image restored from y₁ and y₂."""
        features, first, second, difference = prepared
        weight = None if mask is None else neighbors(mask, self.seed)[0]
        restored = restore(heads, features, first)
        terms = [masked_reconstruction_loss(restored, second, weight, self.criterion)]
        if difference is not None:
            terms.append(self.consistency
                         * masked_reconstruction_loss(restored, second + difference, weight, self.criterion))
        return self.loss_weight * torch.stack(terms).sum()
