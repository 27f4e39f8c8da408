"""Noise that a network leaves: where the image is flat, told by what the network itself takes for noise."""

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from maxl_sr.losses.flat_noise import blocks_of
from maxl_sr.losses.loss_util import check_integer
from maxl_sr.meta import BoundNet

TOLERANCE = 0.05  # how much more of its noise may be left in a flat block than in the flattest, as a share
LOWEST = 0.02  # quantile of the blocks that counts as the flattest
LOW = 0.1  # quantile of the blocks of which some are flat where an image has flat parts
TINY = 1e-7  # of the energy of a block in [0, 1]: less is no noise of 8 bits
CLIPPED = 0.2  # share of pixels at black or white from which a block tells nothing


class FlatBlocks(NamedTuple):
    """The blocks of images that are flat, and what is left of their noise.

    Attributes:
        flat: ``(B, N)``: whether a block is flat.
        noise: ``(B, N, C, size²)``: the noise of every block: the image without its smooth part.
        colour: ``(B, N, C)``: mean colour of every block.
        energy: ``(B, N)``: mean square of that noise.
        left: ``(B, N)``: the same of the restored image.
        share: ``(B, )``: the share of the noise that is left in the flattest blocks.
        spread: ``(B, )``: the standard deviation of `energy` over the flat blocks, as a part of its mean.
        rise: ``(B, )``: the share that is left at :data:`LOW` over that at :data:`LOWEST`. Flat blocks are alike, so it
            is near 1 where there are many; from texture to texture it rises.
    """

    flat: Tensor
    noise: Tensor
    colour: Tensor
    energy: Tensor
    left: Tensor
    share: Tensor
    spread: Tensor
    rise: Tensor

    def unknown(self, least_left: float, most_spread: float, most_rise: float) -> Tensor:
        """Return ``(B, )``: 1 where noise is left, and is about alike in all flat blocks, as noise is; else 0."""
        alike = (self.spread <= most_spread) & (self.rise <= most_rise)
        return ((self.share > least_left) & alike).to(self.noise.dtype)


@functools.cache  # for good: a CUDA graph reads it at its address
def _smooth_basis(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return an orthonormal basis ``(size², ≤ 6)`` of the quadratic functions on a block."""
    line = torch.linspace(-1, 1, size, dtype=torch.float64) if size > 1 else torch.zeros(1, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing='ij')
    functions = torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y], -1).flatten(0, 1)
    basis, values, _ = torch.linalg.svd(functions, full_matrices=False)
    kept: Tensor = basis[:, values > 1e-9]
    return kept.to(dtype).to(device)


def detail(image: Tensor, size: int) -> Tensor:
    """Return the blocks ``(B, N, C, size²)`` of images, each without the quadratic function that fits it best."""
    blocks = blocks_of(image, size)
    basis = _smooth_basis(size, image.dtype, image.device)
    return blocks - (blocks @ basis) @ basis.T


def flat_blocks(y: Tensor, restored: Tensor, size: int, least: int) -> FlatBlocks:
    """Return the blocks of `y` in which its network leaves the least of what is not smooth.

    A network keeps structure and takes noise away. So the share of the detail of a block that is left in the restored
    image is small where the block is flat, and near 1 where it is textured. Of noise that the network does not know
    it leaves a share everywhere, the smallest one where there is noise alone. The blocks whose share is at most
    :data:`TOLERANCE` above that of the flattest ones are flat. This needs no idea of how strong the noise is, nor of
    how it depends on brightness, and does not choose the blocks whose noise happens to be weak.

    Args:
        y: Images ``(B, C, H, W)`` in [0, 1].
        restored: The same restored, of the same shape.
        size: Side of a block in pixels.
        least: Number of blocks that are taken in any case, as far as there are so many.
    """
    size = min(size, *y.shape[-2:])
    noise = detail(y, size)
    energy, left = (blocks.square().mean((-1, -2)) for blocks in (noise, detail(restored, size)))
    blocks = blocks_of(y, size)
    clipped = ((blocks <= 0) | (blocks >= 1)).to(y.dtype).mean((-1, -2)) > CLIPPED
    share = left / (energy + TINY)
    order = torch.where(clipped, share + 10, share)  # last
    lowest, low = (order.quantile(q, dim=1) for q in (LOWEST, LOW))  # no tensor of both: a CUDA graph cannot fetch it
    flat = order <= lowest[:, None] + TOLERANCE
    flat = flat.scatter(1, order.topk(min(least, order.shape[1]), dim=1, largest=False).indices, True)
    weight = flat.to(y.dtype) / flat.sum(1, keepdim=True)
    mean = (weight * energy).sum(1, keepdim=True)
    spread = (weight * (energy - mean).square()).sum(1).sqrt() / (mean.squeeze(1) + TINY)
    return FlatBlocks(flat, noise, blocks.mean(-1), energy, left, lowest, spread, low / (lowest + TINY))


def _of_net(net: BoundNet, size: int, least: int) -> FlatBlocks:
    restored = net.restored().detach().to(net.y.dtype)  # with its graph: the network keeps it for other callers
    with torch.no_grad():
        return flat_blocks(net.y, restored.clamp(0, 1), size, least)


def flat_blocks_of(net: BoundNet, size: int, least: int) -> FlatBlocks:
    """Return :func:`flat_blocks` of the image of `net` and its trained weights, computed once."""
    return net.trained().once(_of_net, size, least)


def check_blocks(block_size: object, least: object, least_left: float, most_spread: float, most_rise: float) -> None:
    """Raise ``ValueError`` naming the argument if the blocks cannot be looked for."""
    # 2×2 pixels are a quadratic function, whatever they are: no detail is left of them
    for name, value, low in (('block_size', block_size, 3), ('least', least, 2)):
        check_integer(name, value, low)
    if not 0 <= least_left <= 1:
        raise ValueError(f'least_left must be from 0 to 1, not {least_left!r}')
    if not most_spread >= 0:
        raise ValueError(f'most_spread must be at least 0, not {most_spread!r}')
    if not most_rise >= 1:
        raise ValueError(f'most_rise must be at least 1, not {most_rise!r}')
