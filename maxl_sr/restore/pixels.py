"""From pixels to tensors and back, as a whole or tile by tile."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maxl_sr.errors import UserError
from maxl_sr.meta import Tiling
from maxl_sr.meta.tiled import Tile, scaled
from maxl_sr.utils.machine import memory_format

SAMPLE_SIDE = 256  # side of the windows that a sample is taken from
GRID = 16  # at which these begin: the blocks of JPEG stay whole


@dataclass(frozen=True)
class Watched(Tiling):
    """Tiles before each of which `check` is called."""

    check: Callable[[], None] | None = None

    def tiles(self, sides: Sequence[int]) -> Iterator[Tile]:
        for tile in super().tiles(sides):
            if self.check is not None:
                self.check()
            yield tile


def sample(pixels: np.ndarray, count: int) -> np.ndarray:
    """Return at most about `count` pixels of ``(H, W, C)``: windows, evenly spread, pushed together; or all."""
    sides = pixels.shape[:2]
    if sides[0] * sides[1] <= count:
        return pixels
    window = [min(SAMPLE_SIDE, side) for side in sides]
    number = max(count // (window[0] * window[1]), 1)
    rows = min(max(round((number * sides[0] / sides[1]) ** 0.5), 1), number, sides[0] // window[0])
    columns = min(max(number // rows, 1), sides[1] // window[1])
    tops, lefts = (np.linspace(0, side - size, n).astype(int) // GRID * GRID
                   for side, size, n in zip(sides, window, (rows, columns)))
    return np.concatenate([np.concatenate([pixels[top:top + window[0], left:left + window[1]] for left in lefts], 1)
                           for top in tops])


def _largest(dtype: np.dtype) -> int:
    return int(np.iinfo(dtype).max) if dtype.kind == 'u' else 1


def padded(pixels: np.ndarray, multiple: int) -> tuple[int, int]:
    """Return height and width rounded up to what tiles can have, of an image of half the size too."""
    height, width = (-(-side // (2 * multiple)) * 2 * multiple for side in pixels.shape[:2])
    return height, width


def to_tensor(pixels: np.ndarray, sides: tuple[int, int], device: torch.device) -> Tensor:
    """Return ``(1, 3, H, W)`` in [0, 1] of the given `sides`, mirrored at the right and below."""
    rest = [(0, wanted - side) for wanted, side in zip(sides, pixels.shape[:2])]
    values = np.pad(pixels, (*rest, (0, 0)), mode='symmetric').astype(np.float32) / _largest(pixels.dtype)
    image = torch.from_numpy(values).to(device).permute(2, 0, 1).unsqueeze(0)
    return image.expand(-1, 3, -1, -1).contiguous(memory_format=memory_format(device))


def to_pixels(restored: Tensor, like: np.ndarray, scale: int) -> np.ndarray:
    """Return ``(1, 3, sH', sW')`` as pixels ``(sH, sW, C)`` of the kind of those that it is of.

    Raises:
        UserError: It is not finite.
    """
    if not torch.isfinite(restored).all():
        raise UserError('the adaptation diverged: the restored image is not finite; choose a smaller lr')
    height, width = (scale * side for side in like.shape[:2])
    image = restored[0, :, :height, :width].float().clamp(0, 1)
    if like.shape[2] == 1:
        image = image.mean(0, keepdim=True)
    values = image.permute(1, 2, 0).cpu().numpy()
    if like.dtype.kind == 'f':
        return values.astype(like.dtype)
    return (values * _largest(like.dtype)).round().astype(like.dtype)


def by_tiles(compute: Callable[[Tensor, np.ndarray], np.ndarray], pixels: np.ndarray, tiling: Tiling | None,
             device: torch.device, multiple: int = 1, scale: int = 1) -> np.ndarray:
    """Return what `compute` makes of an image, ``(sH, sW, C)``, from tiles, or from the whole at once.

    Of the image no more than a tile is there as features or in floating point.

    Args:
        compute: Gets a tile as it is read, ``(1, 3, H, W)``, and the pixels of it that are none of the padding.
        pixels: The image ``(H, W, C)``.
        tiling: The tiles; None: there is one, the whole.
        device: Where the tiles are computed.
        multiple: What the sides are padded to multiples of, see :func:`padded`.
        scale: The enlargement s.
    """
    sides = padded(pixels, multiple)
    whole: np.ndarray | None = None
    for tile in (tiling or Tiling(max(sides), 0)).tiles(sides):
        read = pixels[tile.read]
        height, width = (part.stop - part.start for part in tile.read)
        part = compute(to_tensor(read, (height, width), device), read)
        if whole is None:
            whole = np.empty((*(scale * side for side in pixels.shape[:2]), part.shape[2]), part.dtype)
        whole[scaled(tile.own, scale)] = part[scaled(tile.inner(), scale)]
    assert whole is not None
    return whole
