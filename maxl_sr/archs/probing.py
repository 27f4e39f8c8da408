"""What sides of images a network takes, and how far an output looks, found by trying it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

# What sides must be multiples of, the usual ones first
MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 3, 6, 12, 24, 48, 5, 10, 20, 40, 7, 14, 28, 56, 128)
LEAST = 33  # pixels of a side that is tried
SIDE = 128  # of the image on which the halo is looked for
OFFSETS = (0, 1, 3)  # where tiles begin, in multiples
TOLERANCE = 1e-4
Outputs = Callable[[Tensor], Sequence[Tensor]]


@torch.no_grad()
def _takes(net: nn.Module, x: Tensor, scale: int) -> bool:
    try:
        restored = net(x)
    except Exception:  # of any kind: it is a network of a user's
        return False
    return isinstance(restored, Tensor) and restored.shape == (*x.shape[:2], *(scale * side for side in x.shape[2:]))


def find_multiple(net: nn.Module, channels: int, scale: int) -> int:
    """Return what the sides of an image must be multiples of for `net`, in evaluation mode; 1 where nothing fits.

    Args:
        net: A network from ``(B, C, H, W)`` to ``(B, C, sH, sW)``.
        channels: C.
        scale: s.
    """
    with torch.random.fork_rng(devices=[]):
        for multiple in MULTIPLES:
            number = -(-LEAST // multiple) | 1  # odd: no multiple of twice as much
            if _takes(net, torch.rand(1, channels, number * multiple, (number + 2) * multiple), scale):
                return multiple
    return 1


def _reach(outputs: Sequence[Tensor], start: int, stop: int, side: int) -> int | None:
    """Return how far beyond a square of NaN there are any in the outputs; None where they are at the border."""
    furthest = 0
    for output in outputs:
        scale = output.shape[-1] // side
        lost = output.isnan().any(0).any(0)
        for line in (lost.any(0), lost.any(1)):
            at = line.nonzero().flatten()
            if not len(at) or at[0] > scale * start or at[-1] < scale * stop - 1:
                return None  # it hides what is not a number
            if at[0] == 0 or at[-1] == len(line) - 1:
                return None
            furthest = max(furthest, start - int(at[0]) // scale, int(at[-1]) // scale - stop + 1)
    return furthest


@torch.no_grad()
def find_halo(outputs: Outputs, channels: int, multiple: int) -> int | None:
    """Return how many pixels around a tile its outputs depend on, a multiple of `multiple`; None: on too many.

    NaN at one place goes wherever a value of that place goes, whatever the weights are. What is found is then tried
    out: tiles with such a halo must be equal to the whole.

    Args:
        outputs: What a network makes of images ``(1, C, H, W)``: ``(1, C, sH, sW)`` each, of its own scale s.
        channels: C.
        multiple: What sides must be multiples of.
    """
    side = -(-SIDE // multiple) * multiple
    start = side // 2 // multiple * multiple
    try:
        with torch.random.fork_rng(devices=[]):
            x = torch.rand(1, channels, side, side)
        spoilt = x.clone()
        spoilt[..., start:start + multiple, start:start + multiple] = torch.nan
        reach = _reach(outputs(spoilt), start, start + multiple, side)
        if reach is None:
            return None
        halo = -(-reach // multiple) * multiple
        whole = outputs(x)
        for offset in OFFSETS:
            first = start + offset * multiple
            read = slice(first - halo, min(first + multiple + halo, side))
            for output, part in zip(whole, outputs(x[..., read, read])):
                scale = output.shape[-1] // side
                own = slice(scale * first, scale * (first + multiple))
                inner = slice(scale * halo, scale * (halo + multiple))
                if not torch.allclose(output[..., own, own], part[..., inner, inner], rtol=0, atol=TOLERANCE):
                    return None
    except Exception:  # of any kind: it is a network of a user's
        return None
    return halo


def fitted(x: Tensor, multiple: int) -> Tensor:
    """Return the images ``(B, C, H, W)``, mirrored at the right and below to sides that are multiples of a number."""
    # Not by floor division of a negative number, which ONNX rounds the other way
    height, width = ((side + multiple - 1) // multiple * multiple for side in x.shape[-2:])
    return mirrored(x, height, width)


def mirrored(x: Tensor, height: int, width: int) -> Tensor:
    """Return ``(B, C, H, W)`` continued at the right and below by reflection, as often as it takes."""
    for axis, side in ((-2, height), (-1, width)):
        # As a tensor: the exporter knows no remainder of another kind. 1 where the side is a pixel: all are that one
        period = torch.full((), 2 * x.shape[axis] - 2, dtype=torch.long, device=x.device).clamp(min=1)
        at = torch.arange(side, device=x.device).remainder(period)
        x = x.index_select(axis, torch.minimum(at, period - at))
    return x
