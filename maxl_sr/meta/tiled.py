"""Networks on images of any size in the memory of a tile: the same outputs, the same gradients."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from maxl_sr.meta.autocast import backward, present
from maxl_sr.meta.types import Slices, Weights

Run = Callable[[Weights, Tensor], tuple[Tensor, ...]]  # at given weights, the outputs for images


def scaled(part: Slices, scale: int) -> Slices:
    """Return a part of an image in the same image enlarged."""
    height, width = (slice(scale * side.start, scale * side.stop) for side in part)
    return height, width


@dataclass(frozen=True)
class Tile:
    """A part of an image: its `own` pixels, and those that are `read` for them."""

    own: Slices
    read: Slices

    def inner(self) -> Slices:
        """Return where its own pixels are among those that are read."""
        height, width = (slice(own.start - read.start, own.stop - read.start) for own, read in zip(self.own, self.read))
        return height, width


@dataclass(frozen=True)
class Tiling:
    """Squares of `size` pixels, each read with a margin of `halo` pixels that covers the network's receptive field.

    Both must be multiples of `multiple`, what the network halves an image down by. Only images whose sides are
    multiples of it too are split: a tile is then halved as the whole is.

    Examples:
        >>> tiling = Tiling(size=64, halo=16)
        >>> [(tile.own[1], tile.read[1]) for tile in tiling.tiles((64, 128))]
        [(slice(0, 64, None), slice(0, 80, None)), (slice(64, 128, None), slice(48, 128, None))]
    """

    size: int
    halo: int
    multiple: int = 1

    def splits(self, x: Tensor) -> bool:
        """Return whether ``(B, C, H, W)`` is more than one tile."""
        sides = x.shape[-2:]
        return max(sides) > self.size and not any(side % self.multiple for side in sides)

    def tiles(self, sides: Sequence[int]) -> Iterator[Tile]:
        """Yield the tiles of an image of these `sides`, height and width, row by row."""
        for corner in product(*(range(0, side, self.size) for side in sides)):
            own = [slice(start, min(start + self.size, side)) for start, side in zip(corner, sides)]
            read = [slice(max(part.start - self.halo, 0), min(part.stop + self.halo, side))
                    for part, side in zip(own, sides)]
            yield Tile((own[0], own[1]), (read[0], read[1]))


def _of_tile(run: Run, weights: Weights, x: Tensor, tile: Tile) -> Iterator[tuple[Tensor, int]]:
    """Yield the outputs for the own pixels of a tile, each with its enlargement."""
    part = x[(..., *tile.read)]
    for output in run(weights, part):
        scale = output.shape[-1] // part.shape[-1]
        yield output[(..., *scaled(tile.inner(), scale))], scale


@torch.no_grad()
def _join(run: Run, weights: Weights, x: Tensor, tiling: Tiling) -> tuple[Tensor, ...]:
    outputs: list[Tensor] = []
    for tile in tiling.tiles(x.shape[-2:]):
        for i, (part, scale) in enumerate(_of_tile(run, weights, x, tile)):
            if i == len(outputs):
                outputs.append(part.new_empty(*part.shape[:2], *(scale * side for side in x.shape[-2:])))
            outputs[i][(..., *scaled(tile.own, scale))] = part
    return tuple(outputs)


class _Tiled(torch.autograd.Function):
    """The backward pass computes every tile once more, with its graph, and adds up the gradients."""

    @staticmethod
    def forward(ctx: Any, run: Run, tiling: Tiling, names: list[str], x: Tensor, *weights: Tensor) -> Any:
        ctx.run, ctx.tiling, ctx.names = run, tiling, names
        ctx.autocast = present(x)
        ctx.save_for_backward(x, *weights)
        return _join(run, dict(zip(names, weights)), x, tiling)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        leaves = {name: weight.detach().requires_grad_() for name, weight in zip(ctx.names, weights)}
        total = [torch.zeros_like(weight) for weight in weights]
        for tile in ctx.tiling.tiles(x.shape[-2:]):
            with torch.enable_grad(), ctx.autocast():
                outputs, scales = zip(*_of_tile(ctx.run, leaves, x, tile))
            upstream = [gradient[(..., *scaled(tile.own, scale))] for gradient, scale in zip(gradients, scales)]
            with backward(x):
                parts = torch.autograd.grad(outputs, list(leaves.values()), upstream, allow_unused=True,
                                            materialize_grads=True)
            for added, part in zip(total, parts):
                added += part
        return None, None, None, None, *total


def tiled(run: Run, weights: Weights, x: Tensor, tiling: Tiling) -> tuple[Tensor, ...]:
    """Return the outputs ``run(weights, x)``, computed tile by tile, with a first derivative by the weights.

    The derivative is a sum over the tiles: exact, in the memory of one. There is none by `x` or by other weights.

    Args:
        run: At given weights, the outputs ``(B, C, sH, sW)`` for images ``(B, C, H, W)``, each of its own scale s.
        weights: The weights.
        x: Images ``(B, C, H, W)``.
        tiling: The tiles.
    """
    if not torch.is_grad_enabled() or not any(weight.requires_grad for weight in weights.values()):
        return _join(run, weights, x, tiling)
    outputs: tuple[Tensor, ...] = _Tiled.apply(run, tiling, list(weights), x.detach(), *weights.values())
    return outputs
