"""The kinds of images that are restored: arrays, tensors, and those of Pillow."""

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import torch

from maxl_sr.errors import UserError

Back = Callable[[np.ndarray], Any]  # from restored pixels to the kind of the input
PIL_MODES = ('L', 'RGB', 'I;16')


def checked(image: Any) -> np.ndarray:
    """Return an image as ``(H, W, C)``, refusing what is none.

    Raises:
        ValueError: It is no array, or of another shape, type or range than an image's.
    """
    if not isinstance(image, np.ndarray):
        raise UserError(f'an image must be a NumPy array, a tensor, an image of Pillow or the path of a file, not '
                        f'{_named(image)}')
    if image.ndim not in (2, 3) or image.ndim == 3 and image.shape[2] not in (1, 3) or image.size == 0:
        raise UserError(f'an image must be of shape (H, W), (H, W, 1) or (H, W, 3), not {image.shape}')
    if image.dtype not in (np.uint8, np.uint16) and image.dtype.kind != 'f':
        raise UserError(f'an image must be of uint8, uint16 or floating point, not {image.dtype}')
    if image.dtype.kind == 'f' and not (image.min() >= 0 and image.max() <= 1):  # NaN is neither
        raise UserError(f'a floating point image must be in [0, 1], not {image.min()} … {image.max()}')
    return image.reshape(*image.shape[:2], -1)


def _named(value: Any) -> str:
    return 'None' if value is None else f'a {type(value).__name__}'


def opened(image: Any) -> tuple[np.ndarray, Back]:
    """Return an array, a tensor or an image of Pillow as an array, and the way back to its kind.

    A tensor is ``(C, H, W)``, ``(1, C, H, W)`` or ``(H, W)`` with one or three channels.

    Raises:
        ValueError: It is none of these, or not of this shape or mode.
    """
    if isinstance(image, torch.Tensor):
        return _opened_tensor(image)
    if isinstance(image, PIL.Image.Image):
        if image.mode not in PIL_MODES:
            raise UserError(f"an image of Pillow must be of mode {', '.join(PIL_MODES)}, not {image.mode}; convert it, "
                            'or give the path of its file')
        info = dict(image.info)

        def to_pillow(pixels: np.ndarray) -> PIL.Image.Image:
            made = PIL.Image.fromarray(pixels)
            made.info = info
            return made

        return np.asarray(image), to_pillow
    checked(image)
    return image, lambda pixels: pixels


def _opened_tensor(image: torch.Tensor) -> tuple[np.ndarray, Back]:
    shape, kind, device = tuple(image.shape), image.dtype, image.device
    planes = image.detach().cpu()
    if planes.ndim == 4 and shape[0] == 1:
        planes = planes[0]
    if planes.ndim not in (2, 3) or planes.ndim == 3 and planes.shape[0] not in (1, 3):
        raise UserError('a tensor must be of shape (C, H, W), (1, C, H, W) or (H, W) with 1 or 3 channels, '
                        f'not {shape}')
    if kind == torch.bfloat16:  # which NumPy does not know
        planes = planes.float()
    pixels = planes.numpy() if planes.ndim == 2 else planes.permute(1, 2, 0).numpy()

    def to_tensor(restored: np.ndarray) -> torch.Tensor:
        made = torch.from_numpy(np.ascontiguousarray(restored))
        made = made if made.ndim == 2 else made.permute(2, 0, 1).contiguous()
        return made.reshape(*shape[:-2], *made.shape[-2:]).to(device, kind)

    return pixels, to_tensor


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Refuse what is no integer, of Python or NumPy, within bounds.

    Raises:
        ValueError: The message names the argument.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < low:
        raise UserError(f'{name} must be an integer of at least {low}, not {value!r}')
    if high is not None and value > high:
        raise UserError(f'{name} must be at most {high}, not {value!r}')
