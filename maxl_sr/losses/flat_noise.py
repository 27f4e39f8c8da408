"""The noise of an image, cut out where the image is flat."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maxl_sr.losses.loss_util import check_integer, local_mean, reduced
from maxl_sr.meta import BoundNet
from maxl_sr.utils.by_size import BySize

LEVELS = 4  # of brightness, from each of which flat blocks are taken: noise depends on it
WINDOW = 17  # side in pixels of what counts as local brightness


def blocks_of(image: Tensor, size: int) -> Tensor:
    """Return the blocks ``(B, N, C, size²)`` of a grid, row by row; a rest at the right and below is left out."""
    height, width = (side // size * size for side in image.shape[-2:])
    blocks = F.unfold(image[..., :height, :width], size, stride=size)
    pixels: Tensor = blocks.unflatten(1, (image.shape[1], size * size)).permute(0, 3, 1, 2)
    return pixels


@BySize
def _draw(count: int, choices: int, seed: int, device: torch.device) -> Tensor:
    return torch.randint(choices, (count, 1), generator=torch.Generator().manual_seed(seed)).to(device)


def with_noise(target: Tensor, noise: Tensor, colour: Tensor, usable: Tensor | None, size: int, candidates: int,
               seed: int) -> Tensor:
    """Return `target` in [0, 1], each block of which has got one block of noise, of about its colour.

    Args:
        target: Clean images ``(B, C, h, w)``.
        noise: Blocks of noise ``(B, K, C, size²)``.
        colour: The colours ``(B, K, C)`` of what they were taken from.
        usable: ``(B, K)``: whether a block may be used; None: all may be.
        size: Side of a block in pixels.
        candidates: A block is drawn from so many that are nearest in colour.
        seed: Another seed, other blocks.
    """
    height, width = target.shape[-2:]
    padded = F.pad(target, (0, -width % size, 0, -height % size), mode='replicate')
    distance = torch.cdist(blocks_of(padded, size).mean(-1), colour)
    if usable is not None:
        distance = distance + torch.where(usable, 0.0, torch.inf).to(distance.dtype).unsqueeze(1)
    nearest = distance.topk(min(candidates, colour.shape[1]), dim=-1, largest=False).indices
    drawn = _draw(nearest.shape[1], nearest.shape[2], seed, target.device).expand(len(target), -1, -1)
    source = nearest.gather(2, drawn)  # (B, N, 1)
    added = noise.gather(1, source.unsqueeze(-1).expand(-1, -1, *noise.shape[2:]))
    added = F.fold(added.permute(0, 2, 3, 1).flatten(1, 2), padded.shape[-2:], size, stride=size)
    return (target + added[..., :height, :width]).clamp(0, 1)


def transplant_noise(y: Tensor, smooth: Tensor, target: Tensor, block_size: int = 16, share: float = 0.1,
                     candidates: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return `target` with the noise of flat blocks of `y`, in [0, 1], and how flat these are: ``(B, 1, 1, 1)``.

    Where an image is flat, all that is left besides the smooth image is noise, whatever its kind. Each block of
    `target` gets the noise ``y − smooth`` of a flat block of about its colour, for noise depends on intensity. Blocks
    are of whole 8×8 blocks of JPEG where `block_size` is a multiple of 8.

    Args:
        y: Noisy images ``(B, C, H, W)``.
        smooth: What they show without noise, at least where they are flat, of the same shape.
        target: Clean images ``(B, C, h, w)``.
        block_size: Side of a block in pixels.
        share: Share of the blocks of `y` that count as flat: in each quarter by brightness, those where the gradient of
            `smooth` is least.
        candidates: A block is drawn from so many that are nearest in colour.
        seed: Another seed, other blocks.

    Returns:
        The noisy target, and the mean square of the gradient of `smooth` over the variance of the noise, both in the
        blocks that count as flat: 0 is flat, where it is near 1 the noise may as well be texture.
    """
    size = min(block_size, *y.shape[-2:])
    gradient = sum(F.pad(smooth.diff(dim=dim), end).square().mean(1, keepdim=True)
                   for dim, end in ((-1, (0, 1)), (-2, (0, 0, 0, 1))))
    assert isinstance(gradient, Tensor)
    activity = blocks_of(gradient, size).mean((-1, -2))
    colours = blocks_of(smooth, size).mean(-1)
    count = max(round(share * activity.shape[1]), candidates)
    flat = torch.cat([level.gather(1, activity.gather(1, level).topk(min(count // LEVELS + 1, level.shape[1]), dim=1,
                                                                     largest=False).indices)
                      for level in colours.mean(-1).argsort(1).tensor_split(LEVELS, dim=1)], dim=1)

    def of_flat(blocks: Tensor) -> Tensor:
        return blocks.gather(1, flat[..., None, None].expand(-1, -1, *blocks.shape[2:]))

    noise, colour = of_flat(blocks_of(y - smooth, size)), of_flat(colours.unsqueeze(-1)).squeeze(-1)
    variance = noise.var(-1, unbiased=False).mean((1, 2))
    flatness = activity.gather(1, flat).mean(1) / (variance + torch.finfo(variance.dtype).tiny)
    return with_noise(target, noise, colour, None, size, candidates, seed), flatness.view(-1, 1, 1, 1)


def _clean_copy(net: BoundNet, ratio: int) -> tuple[Tensor, Tensor]:
    y = net.y
    restored = net.restored().detach().to(y.dtype)  # with its graph: the network keeps it for other callers
    with torch.no_grad():
        # Detached from a forward-mode derivative as well
        copy = net.restored(reduced(y, ratio)).detach().to(y.dtype).clamp(0, 1)
    copy = (copy + local_mean(reduced(restored, ratio) - copy, WINDOW)).clamp(0, 1)
    smooth = F.interpolate(copy, size=y.shape[-2:], mode='bicubic', align_corners=False).clamp(0, 1)
    return copy, smooth


@dataclass(frozen=True)
class FlatNoise:
    """How the noise of an image is found in its flat parts.

    Args:
        ratio: How many times smaller the image is restored to see what it shows without noise, at least 2.
        block_size: Side of the blocks of noise, in pixels.
        share: Share of the blocks that count as flat, in (0, 1].
        candidates: Number of blocks, nearest in colour, from which one is drawn.
        flatness: The flat blocks must be at least as flat, see :func:`transplant_noise`; inf: whatever they are.
        seed: Seed of the draw.

    Raises:
        ValueError: An argument is out of range.
    """

    ratio: int
    block_size: int
    share: float
    candidates: int
    flatness: float
    seed: int

    def __post_init__(self) -> None:
        for name, low in (('ratio', 2), ('block_size', 1), ('candidates', 1)):
            check_integer(name, getattr(self, name), low)
        if not 0 < self.share <= 1:
            raise ValueError(f'share must be greater than 0 and at most 1, not {self.share!r}')
        if not self.flatness > 0:
            raise ValueError(f'flatness must be greater than 0, not {self.flatness!r}')
        check_integer('seed', self.seed)

    def clean_copy(self, net: BoundNet) -> tuple[Tensor, Tensor]:
        """Return (the image of `net`, reduced, restored and of x̂'s local brightness, the same enlarged again)."""
        return net.once(_clean_copy, self.ratio)

    def transplant(self, y: Tensor, smooth: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (`target` with noise of `y`, ``(B, 1, 1, 1)``: 0 where the image has no flat parts, else 1)."""
        noisy, flatness = transplant_noise(y, smooth, target, self.block_size, self.share, self.candidates, self.seed)
        return noisy, (flatness <= self.flatness).to(y.dtype)
