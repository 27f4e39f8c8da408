"""The files that are read and written, by their endings."""

import functools
from pathlib import Path

from maxl_sr.errors import UserError
from maxl_sr.formats import heif
from maxl_sr.utils.files import shown

SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.webp', '.avif')
JPEG = ('.jpg', '.jpeg')
QUALITY = 95  # of JPEG, WebP, AVIF and HEIC


@functools.cache
def suffixes() -> tuple[str, ...]:
    """Return the endings of the files that can be read and written here: HEIC where the extra is installed."""
    return SUFFIXES + (heif.HEIC if heif.is_available() else ())


def check_suffix(path: Path, what: str = '') -> None:
    """Refuse a file by its ending.

    Args:
        path: The file.
        what: Put before its name, such as an option.

    Raises:
        UserError: The message names the endings there are, or the extra for HEIC.
    """
    suffix = path.suffix.lower()
    if suffix in heif.HEIC and suffix not in suffixes():
        raise UserError(f'{what}{shown(path)}: {heif.NEEDED}')
    if suffix not in suffixes():
        raise UserError(f"{what}{shown(path)}: the ending must be one of {', '.join(suffixes())}")
