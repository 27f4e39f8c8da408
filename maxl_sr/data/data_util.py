"""What the data sets share."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from basicsr.utils import FileClient, imfrombytes

from maxl_sr.errors import UserError
from maxl_sr.utils.options import check_choice

# Keys that BasicSR reads from every data set's section, or puts there
LOADER_KEYS = ('name', 'type', 'phase', 'scale', 'batch_size_per_gpu', 'num_worker_per_gpu', 'dataset_enlarge_ratio',
               'prefetch_mode', 'num_prefetch_queue', 'pin_memory', 'persistent_workers', 'use_shuffle', 'resume_from')
AUGMENT_KEYS = ('gt_size', 'use_hflip', 'use_rot')
EXTENSIONS = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')


def read_image(client: FileClient, path: str, client_key: str) -> np.ndarray:
    """Return an image as BasicSR does: (H, W, 3) BGR, float32 in [0, 1]; grey, 16-bit and alpha are converted.

    Raises:
        UserError: The file cannot be read or decoded.
    """
    try:
        image = imfrombytes(client.get(path, client_key))
    except Exception as error:
        raise UserError(f'cannot read the image {path}: {" ".join(str(error).split())}') from error
    if image is None:
        raise UserError(f'cannot read the image {path}: unknown format, damaged or truncated')
    return image.astype(np.float32) / 255.


def check_backend(where: str, section: Mapping[str, Any]) -> None:
    """Refuse an ``io_backend`` of the section `where` that is no section or whose type BasicSR does not know."""
    backend = section['io_backend']
    if not isinstance(backend, Mapping):
        raise UserError(f'{where}: io_backend must be a section, not {backend!r}')
    if 'type' not in backend:
        raise UserError(f"{where}: io_backend: key 'type' is missing")
    check_choice(f'{where}: io_backend: type', backend['type'], FileClient._backends)


def center_crop_window(size: int, crop: int | None) -> slice:
    """Return the central `crop` pixels of an axis of `size` pixels; all where it is smaller or `crop` is None."""
    start = 0 if crop is None else max(size - crop, 0) // 2
    return slice(start, size if crop is None else start + crop)


def check_int(where: str, opt: Mapping[str, Any], key: str, low: int = 1) -> int | None:
    """Return the integer `key` of the section `where`, or None where it is absent.

    Raises:
        UserError: It is no integer of at least `low`.
    """
    value = opt.get(key)
    if value is not None and (type(value) is not int or value < low):
        raise UserError(f'{where}: {key} must be an integer of at least {low}, not {value!r}')
    return value


def check_range(where: str, opt: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """Return the range ``[low, high]`` of positive numbers `key` of the section `where`, or None where it is absent.

    Raises:
        UserError: It is none.
    """
    value = opt.get(key)
    if value is None:
        return None
    numbers = isinstance(value, (list, tuple)) and len(value) == 2 and all(type(end) in (int, float) for end in value)
    if not numbers or not 0 < value[0] <= value[1] < math.inf:
        raise UserError(f'{where}: {key} must be a range [low, high] of numbers greater than 0, not {value!r}')
    return float(value[0]), float(value[1])
