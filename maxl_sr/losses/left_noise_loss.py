"""Left noise: how much of the noise of flat parts is left, and whether what was taken away was noise; for the guard."""

from typing import NamedTuple

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.flat_noise import blocks_of
from maxl_sr.losses.left_noise import check_blocks, detail, flat_blocks_of
from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads, restore

TINY = 1e-12
PENALTY = 10  # for change that is not even: more than any share of noise


class Watched(NamedTuple):
    """What :class:`LeftNoiseLoss` prepares.

    Attributes:
        features: Features of y.
        y: The image.
        before: The restored image at the trained weights.
        flat: ``(B, N)``: 1 where a block is flat, else 0.
        energy: ``(B, N)``: mean square of the noise of a block.
        active: ``(B, )``: 0 where an image is left alone, else 1.
    """

    features: Tensor
    y: Tensor
    before: Tensor
    flat: Tensor
    energy: Tensor
    active: Tensor


@LOSS_REGISTRY.register()
class LeftNoiseLoss(nn.Module):
    """Objective of the guard for noise that the network does not know: what is left of it, if noise was taken away.

    ``loss_weight · (Σ |detail(x̂)|² / Σ |detail(y)|² + 10 max(u − evenness, 0))``, the sums over the flat blocks
    (:func:`~maxl_sr.losses.left_noise.flat_blocks`), where detail is what is not smooth. u is the mean square of
    x̂₀ − x̂ outside of the flat blocks over that within, x̂₀ the image restored with the trained weights. Noise is
    everywhere, so adapted weights that take noise away change flat and textured parts alike, u ≈ 1. Those that take
    structure away change textured parts more.

    Where the network leaves less than `least_left` of the noise, it knows this noise. Where the strength of the noise
    differs by more than `most_spread` among the flat blocks, or the share of it that is left rises by more than
    `most_rise` among the flattest tenth of all blocks, it may as well be texture. There the loss is 0. The mask does
    not apply. The image restored must be of the size of y (scale 1).

    Args:
        loss_weight: Factor of the loss.
        evenness: How much more, as a factor of the mean square, may change outside of the flat parts; at least 0.
        least_left: Share of the noise of flat parts, in [0, 1], of which the network must leave more.
        most_spread: How much its strength may differ among the flat blocks: standard deviation of its mean square, as a
            part of the mean; at least 0.
        most_rise: How much more of it, as a factor of at least 1, may be left at the flattest tenth of the blocks than
            at the flattest fiftieth.
        block_size: Side of the blocks, in pixels, at least 3.
        least: Number of blocks that count as flat in any case, at least 2.

    Raises:
        ValueError: An argument is out of range.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.losses.photograph_noise_loss import PhotographNoiseLoss
        >>> from maxl_sr.meta import Guard, Task, adapt
        >>> net, y = MultiTaskNet(num_feat=8), torch.rand(1, 3, 64, 64)
        >>> guard = Guard(Task(net, LeftNoiseLoss(), y, mask=None), margin=0.05)
        >>> task = Task(net, PhotographNoiseLoss(), y, mask=None)
        >>> for weights, loss in guard.watch(adapt(task, steps=2, lr=1e-3, optimizer='adam'), steps=2):
        ...     pass
        >>> task.restored(guard.weights).shape
        torch.Size([1, 3, 64, 64])
    """

    same_size = True  # x̂ and y are compared

    def __init__(self, loss_weight: float = 1.0, evenness: float = 1.2, least_left: float = 0.1,
                 most_spread: float = 0.3, most_rise: float = 1.2, block_size: int = 16, least: int = 16) -> None:
        super().__init__()
        check_blocks(block_size, least, least_left, most_spread, most_rise)
        if not evenness >= 0:
            raise ValueError(f'evenness must be at least 0, not {evenness!r}')
        self.loss_weight, self.evenness = loss_weight, evenness
        self.least_left, self.most_spread, self.most_rise = least_left, most_spread, most_rise
        self.block_size, self.least = block_size, least

    def prepare(self, net: BoundNet, y: Tensor) -> Watched:
        """Return the image, how it is restored at the trained weights, and its flat blocks."""
        found = flat_blocks_of(net, self.block_size, self.least)
        before = net.trained().restored().detach().to(y.dtype)
        active = found.unknown(self.least_left, self.most_spread, self.most_rise)
        return Watched(net.forward_features(y), y, before, found.flat.to(y.dtype), found.energy, active)

    def loss(self, heads: Heads, prepared: Watched, mask: Tensor | None) -> Tensor:
        """Return the mean over the images."""
        features, y, before, flat, energy, active = prepared
        size = min(self.block_size, *y.shape[-2:])
        restored = restore(heads, features, y)
        left = detail(restored, size).square().mean((-1, -2))
        changed = blocks_of(before - restored, size).square().mean((-1, -2))
        other = 1 - flat
        share = (left * flat).sum(1) / ((energy * flat).sum(1) + TINY)
        within = (changed * flat).sum(1) / flat.sum(1)
        outside = (changed * other).sum(1) / other.sum(1).clamp_min(1)
        uneven = (outside / (within + TINY) - self.evenness).clamp_min(0)
        return self.loss_weight * (active * (share + PENALTY * uneven)).mean()
