"""The scenes of Nam's data set as it is published: a MAT file each, with a noisy shot and the mean of 500."""

from pathlib import Path

import numpy as np

from maxl_sr.errors import UserError
from maxl_sr.utils.files import check_file, shown

VARIABLES = {'gt': 'img_mean', 'lq': 'img_noisy'}


def read_mat(path: Path, kind: str) -> np.ndarray:
    """Return the image of a scene, noisy ('lq') or clean ('gt'), as 8-bit BGR.

    Its values are from 0 to 255, in whatever type; they are rounded.

    Raises:
        UserError: The file cannot be read, or holds no such image.
    """
    from scipy.io import loadmat

    check_file(path)
    name = VARIABLES[kind]
    try:
        found = loadmat(path, variable_names=[name])
    except NotImplementedError as error:
        raise UserError(f'{shown(path)} is a MAT file of version 7.3, which is not read here; save it as version 7.') \
            from error
    except MemoryError as error:
        raise UserError(f'there is not enough memory to read {shown(path)}; fewer --jobs need less.') from error
    except Exception as error:  # scipy's reader has many of its own
        raise UserError(f'{shown(path)} cannot be read as a MAT file; it is damaged or truncated.') from error
    image = found.get(name)
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind not in 'uif':
        raise UserError(f'{shown(path)} holds no colour image called {name}.')
    pixels = image.astype(np.float64)
    if not pixels.size or not np.isfinite(pixels).all() or pixels.min() < 0 or not 1 < pixels.max() <= 255:
        raise UserError(f'{shown(path)}: {name} must have values from 0 to 255.')
    return np.ascontiguousarray(np.round(pixels[..., ::-1]).astype(np.uint8))
