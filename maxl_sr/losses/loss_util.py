"""What the losses share."""

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

Reduction = Literal['none', 'mean', 'sum']
REDUCTIONS: tuple[str, ...] = get_args(Reduction)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ``ValueError`` naming the argument if `value` is none of `choices`."""
    if value not in choices:
        raise ValueError(f'{name} must be one of {", ".join(choices)}, not {value!r}')


def check_integer(name: str, value: object, low: int | None = None) -> None:
    """Raise ``ValueError`` naming the argument if `value` is no integer, or one below `low`."""
    if type(value) is not int or low is not None and value < low:
        raise ValueError(f'{name} must be an integer{"" if low is None else f" of at least {low}"}, not {value!r}')


def reduce(loss: Tensor, reduction: str) -> Tensor:
    """Reduce an element-wise loss by 'none', 'mean' (over all elements) or 'sum'."""
    check_choice('reduction', reduction, REDUCTIONS)
    return loss if reduction == 'none' else loss.mean() if reduction == 'mean' else loss.sum()


def reduced(image: Tensor, ratio: int, multiple: int = 1) -> Tensor:
    """Return `image` in [0, 1] and `ratio` times smaller (bicubic, anti-aliased), its sides multiples of `multiple`."""
    sides = [max(side // ratio // multiple, 1) * multiple for side in image.shape[-2:]]
    return F.interpolate(image, size=sides, mode='bicubic', align_corners=False, antialias=True).clamp(0, 1)


def local_mean(image: Tensor, window: int) -> Tensor:
    """Return the mean of ``(B, C, H, W)`` over the square of `window` pixels, an odd number, around every pixel."""
    for size in ((window, 1), (1, window)):
        image = F.avg_pool2d(image, size, 1, (size[0] // 2, size[1] // 2), count_include_pad=False)
    return image


def check_window(value: object) -> None:
    """Raise ``ValueError`` if `value` is no size of :func:`windows`."""
    if type(value) is not int or value < 0:
        raise ValueError(f'window must be a non-negative integer, not {value!r}')


def windows(image: Tensor, size: int) -> Tensor:
    """Return every second window of `size` pixels, down and across, of ``(B, C, H, W)``, pushed together.

    They are a quarter of the image, or less by a rest at the right and below. An image that is smaller than four
    windows is left as it is, and so is any for the size 0.
    """
    if size == 0 or min(image.shape[-2:]) < 4 * size:
        return image
    height, width = (side // (2 * size) for side in image.shape[-2:])
    rows = image[..., :2 * size * height, :].unflatten(-2, (height, 2, size))[..., 0, :, :].flatten(-3, -2)
    halves: Tensor = rows[..., :2 * size * width].unflatten(-1, (width, 2, size))[..., 0, :].flatten(-2)
    return halves
