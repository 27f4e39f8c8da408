"""The size of the tiles: as large as the memory allows."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from maxl_sr.utils.machine import free_memory
from maxl_sr.utils.memory import is_out_of_memory

Result = TypeVar('Result')

TILE = 768  # largest side of a tile
LEAST_TILE = 64
COPIES = 16  # of the features of a tile that are in memory at a time, at full resolution
SHARE = 0.5  # of the free memory


def tile_size(net: nn.Module, halo: int, device: torch.device) -> int:
    """Return the side of the tiles that the free memory should suffice for.

    Args:
        net: The network, whose first convolution has as many features as most others at full resolution.
        halo: What is computed around each tile, in pixels.
        device: Where it is computed.
    """
    features = next(module.out_channels for module in net.modules() if isinstance(module, nn.Conv2d))
    pixels = SHARE * free_memory(device) / (4 * features * COPIES)
    side = max(int(pixels ** 0.5) - 2 * halo, LEAST_TILE)
    return min(side // LEAST_TILE * LEAST_TILE, TILE)


def in_memory(compute: Callable[[int], Result], size: int, smaller: bool) -> Result:
    """Return what `compute` returns with tiles of this size, or of the next smaller one that the memory suffices for.

    Args:
        compute: Gets the side of the tiles.
        size: The side to begin with.
        smaller: Whether tiles may be smaller.

    Raises:
        MemoryError: The memory does not suffice, for the smallest tiles either.
    """
    while True:
        try:
            return compute(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if not smaller or size <= LEAST_TILE:
                raise MemoryError(f'not enough memory for tiles of {size} pixels') from error
            size = max(size // 2 // LEAST_TILE, 1) * LEAST_TILE
