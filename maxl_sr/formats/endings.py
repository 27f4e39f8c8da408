"""The files that are read and written, by their endings."""

import functools
import importlib.util
from pathlib import Path

from maxl_sr.errors import UserError
from maxl_sr.utils.files import shown

SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.webp', '.avif')
JPEG = ('.jpg', '.jpeg')
HEIC = ('.heic', '.heif')
QUALITY = 95  # of JPEG, WebP, AVIF and HEIC
HEIC_NEEDED = "HEIC needs the extra 'heic': pip install 'maxl_sr[heic]'"


def has_heic() -> bool:
    """Return whether HEIC files can be read and written."""
    return importlib.util.find_spec('pillow_heif') is not None


@functools.cache
def suffixes() -> tuple[str, ...]:
    """Return the endings of the files that can be read and written here: HEIC where the extra is installed."""
    return SUFFIXES + (HEIC if has_heic() else ())


def check_suffix(path: Path, what: str = '') -> None:
    """Refuse a file by its ending.

    Args:
        path: The file.
        what: Put before its name, such as an option.

    Raises:
        UserError: The message names the endings there are, or the extra for HEIC.
    """
    suffix = path.suffix.lower()
    if suffix in HEIC and suffix not in suffixes():
        raise UserError(f'{what}{shown(path)}: {HEIC_NEEDED}')
    if suffix not in suffixes():
        raise UserError(f"{what}{shown(path)}: the ending must be one of {', '.join(suffixes())}")
