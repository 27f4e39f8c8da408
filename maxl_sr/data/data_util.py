"""What the data sets share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from basicsr.utils import FileClient, imfrombytes

from maxl_sr.data.sections import BY_BASICSR, Loader
from maxl_sr.errors import UserError
from maxl_sr.settings.section import Kind, parse
from maxl_sr.settings.types import Needed
from maxl_sr.settings.values import check_choice

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


def section_of(cls: type[Kind], opt: Mapping[str, Any], where: str) -> Kind:
    """Return the section of a data set as `cls`, without what BasicSR itself reads of it or has put into it.

    Raises:
        UserError: A key is unknown or, in training, missing, or a value has the wrong type or is out of range.
    """
    its = (*BY_BASICSR, *Loader.model_fields)
    section = parse(cls, {key: value for key, value in opt.items() if key not in its}, where)
    needed = [key for key, field in cls.model_fields.items() if Needed('in training') in field.metadata]
    for key in needed if opt['phase'] == 'train' else ():
        if key not in opt:
            raise UserError(f"{where}: key '{key}' is missing")
    scale = opt.get('scale', 1)
    if type(scale) is not int or scale < 1:
        raise UserError(f'{where}: scale must be an integer of at least 1, not {scale!r}')
    return section
