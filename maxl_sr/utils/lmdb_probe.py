"""A look into an LMDB from a process of its own: LMDB trusts its file, and a damaged one can end whoever reads it.

Run by path, without the package around it: ``python lmdb_probe.py ROOT < KEYS``. Writes one line of JSON: the number of
images and, for every key, width and height of its image, null where there is none, or false where it cannot be read.
"""

import io
import json
import sys
from contextlib import contextmanager
from typing import Any

from PIL import Image

TAIL = 64  # bytes in which an image format ends
ENDS = {'PNG': b'IEND', 'JPEG': b'\xff\xd9'}
ORIENTATION = 0x0112


@contextmanager
def any_size() -> Any:
    """Let Pillow open images beyond its limit, which is one for strangers' files."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


class PagesError(ValueError):
    """An image has several pages, of which the first alone would be read."""


def image_size(file: Any, length: int) -> tuple[int, int]:
    """Return width and height from the header, as OpenCV turns the image, after a look whether the file has its end.

    Raises:
        PagesError: It is an animation, or has several pages.
    """
    with any_size(), Image.open(file) as image:
        kind = image.format or ''
        pages = getattr(image, 'n_frames', 1)
        if pages > 1 and kind != 'MPO':
            raise PagesError(f'it has {pages} pages')
        file.seek(max(length - TAIL, 0))
        whole = ENDS.get(kind, b'') in file.read()
        if not whole:  # a trailer can follow the end: decode
            image.load()
        width, height = image.size
        if width != height:  # a square is as wide as it is high however it is turned
            turned = image.getexif().get(ORIENTATION, 1) >= 5  # a PNG is decoded to its end for that
            return (height, width) if turned else (width, height)
        image.verify()  # the checksums of a PNG
        return width, height


def _size_in(value: memoryview) -> Any:
    try:
        return image_size(io.BytesIO(value), len(value))
    except Exception:
        return False


def main() -> None:
    """Write what the LMDB holds of the keys that are given."""
    import lmdb
    root, keys = sys.argv[1], sys.stdin.buffer.read().split(b'\n')
    with lmdb.open(root, readonly=True, lock=False, readahead=False) as environment:
        pages, size = environment.info()['last_pgno'] + 1, environment.stat()['psize']
        with open(f'{root}/data.mdb', 'rb') as file:
            if file.seek(0, io.SEEK_END) < pages * size:
                raise lmdb.Error(f'the file is cut: {file.tell()} of {pages * size} bytes')
        with environment.begin(buffers=True) as transaction:
            values = (transaction.get(key) for key in keys if key)
            sizes = [None if value is None else _size_in(value) for value in values]
            print(json.dumps({'images': transaction.stat()['entries'], 'sizes': sizes}))


if __name__ == '__main__':
    try:
        main()
    except Exception as error:
        print(json.dumps({'error': ' '.join(str(error).split()) or type(error).__name__}))
