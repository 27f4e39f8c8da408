"""An image as BasicSR sees it, where the file is whole and holds one picture."""

import io
from pathlib import Path

import cv2
import numpy as np
import pyvips
from PIL import Image, UnidentifiedImageError

from maxl_sr.errors import UserError
from maxl_sr.progress import tell
from maxl_sr.utils.files import shown
from maxl_sr.utils.lmdb_probe import any_size
from maxl_sr.utils.memory import is_out_of_memory


def _pages(data: bytes) -> int:
    """Return the number of pages of a file that Pillow does not know."""
    try:
        image = pyvips.Image.new_from_buffer(data, '')
        return int(image.get('n-pages')) if image.get_typeof('n-pages') else 1
    except pyvips.Error:
        return 1


def read_whole(path: Path) -> np.ndarray:
    """Return 8-bit BGR; Pillow judges whether the file is complete, for OpenCV fills missing rows with grey.

    Raises:
        UserError: It cannot be read, whatever the cause, or holds several pictures.
        MemoryError: It does not fit.
    """
    try:
        data = path.read_bytes()  # OpenCV takes no name that is not UTF-8
    except OSError as error:
        raise UserError(f'cannot read {shown(path)}: {error.strerror}') from error
    try:
        try:
            with any_size(), Image.open(io.BytesIO(data)) as image:
                image.load()
                pages, is_jpeg = getattr(image, 'n_frames', 1), image.format == 'MPO'
        except UnidentifiedImageError:  # some kinds only OpenCV reads, 16-bit RGB TIFF for one
            pages, is_jpeg = _pages(data), False
        pixels: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except Exception as error:  # the decoders of each format have their own
        if is_out_of_memory(error):
            raise MemoryError(f'there is not enough memory for the image {shown(path)}') from error
        raise UserError(f'{shown(path)} cannot be read as an image; it is damaged or truncated.') from error
    if pixels is None:
        raise UserError(f'{shown(path)} cannot be read as an image.')
    if pages > 1 and not is_jpeg:
        raise UserError(f'{shown(path)} has {pages} pages; one image a file can be read.')
    if pages > 1:
        tell(f'note: {shown(path)}: the further pictures of the file (MPO) are left out')
    return pixels
