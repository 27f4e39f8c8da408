"""The mask of an image, as a whole or tile by tile."""

import numpy as np
import torch
from torch import Tensor, nn

from maxl_sr.archs.mask_arch import mask_of, reads_network
from maxl_sr.meta import Tiling, Traits
from maxl_sr.meta.tiled import tiled
from maxl_sr.restore.pixels import by_tiles


class Masks:
    """What a mask network makes of images.

    Args:
        mask_net: The mask network, on the device.
        net: The network that is adapted, on the device.
        device: Where it computes.
        multiple: What the sides of images are padded to multiples of.
    """

    def __init__(self, mask_net: nn.Module, net: nn.Module, device: torch.device, multiple: int) -> None:
        self._mask_net, self._net, self._device, self._multiple = mask_net, net, device, multiple
        halos = [Traits(one).halo for one in ((mask_net, net) if reads_network(mask_net) else (mask_net, ))]
        self._halo = None if None in halos else sum(halo for halo in halos if halo)

    def _tiling(self, size: int) -> Tiling | None:
        return None if self._halo is None else Tiling(size, self._halo, self._multiple)

    def of(self, y: Tensor, size: int) -> Tensor:
        """Return the mask ``(1, 1, H, W)`` of an image ``(1, 3, H, W)``, by tiles of this size."""
        tiling = self._tiling(size)
        if tiling is None:
            return mask_of(self._mask_net, self._net, y)
        return tiled(lambda _, part: (mask_of(self._mask_net, self._net, part), ), {}, y, tiling)[0]

    @torch.no_grad()
    def of_pixels(self, pixels: np.ndarray, size: int) -> np.ndarray:
        """Return the mask ``(H, W)`` of an image ``(H, W, C)``, of which a tile at a time is on the device."""

        def compute(y: Tensor, read: np.ndarray) -> np.ndarray:
            mask = mask_of(self._mask_net, self._net, y)[0, 0, :read.shape[0], :read.shape[1], None]
            return mask.float().cpu().numpy()

        return by_tiles(compute, pixels, self._tiling(size), self._device, self._multiple)[..., 0]
