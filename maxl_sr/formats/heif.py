"""HEIF: AVIF files are libvips' own, HEIC ones need pillow-heif (the extra ``heic``), for HEVC is patented."""

import importlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from maxl_sr.errors import UserError

SEQUENCES = (b'avis', b'msf1', b'hevc', b'hevx')  # brands
HEAD = 2 ** 20  # bytes in which what is told of an image stands
# As told in the file (ITU-T H.273): those of sRGB, or not said
PRIMARIES, TRANSFERS = (1, 2), (1, 2, 6, 13)
FIELDS = {'exif': 'exif-data', 'xmp': 'xmp-data', 'icc_profile': 'icc-profile-data'}


def _heif() -> Any:
    return importlib.import_module('pillow_heif')


def brand(path: Path) -> bytes | None:
    """Return the brand of a HEIF file, such as ``heic`` or ``avif``; None: it is another file."""
    with open(path, 'rb') as file:
        head = file.read(12)
    return head[8:] if head[4:8] == b'ftyp' else None


def other_colours(path: Path) -> str | None:
    """Return what the file says of its colours, where that is neither sRGB nor a profile; None: it is."""
    with open(path, 'rb') as file:
        head = file.read(HEAD)
    at = head.find(b'colrnclx')
    if at < 0 or len(head) < at + 12:
        return None
    primaries, transfer = struct.unpack('>HH', head[at + 8:at + 12])
    profile = any(kind in head for kind in (b'colrprof', b'colrrICC'))
    if transfer in TRANSFERS and (primaries in PRIMARIES or profile):
        return None
    return f'primaries {primaries}, transfer {transfer}'


def read_heic(path: Path) -> tuple[pyvips.Image, list[str]]:
    """Return the image of a HEIC file as libvips would give it, upright, and what else the file holds.

    Raises:
        UserError: The file is damaged, or holds several images.
    """
    told = f'cannot read the image {path}: '
    try:
        file = _heif().open_heif(path, convert_hdr_to_8bit=False)
        if len(file) > 1:
            raise UserError(f'{told}it holds {len(file)} images')
        pixels, info = np.ascontiguousarray(np.asarray(file)), file.info
    except (RuntimeError, OSError, EOFError, SyntaxError, KeyError, IndexError, TypeError) as error:
        raise UserError(told + (' '.join(str(error).split()) or type(error).__name__)) from error
    deep, grey = pixels.dtype == np.uint16, pixels.ndim == 2
    image = pyvips.Image.new_from_array(pixels).copy(
        interpretation=('grey16' if deep else 'b-w') if grey else ('rgb16' if deep else 'srgb'))
    image.set_type(pyvips.GValue.gint_type, 'bits-per-sample', info.get('bit_depth', 8))
    image.set_type(pyvips.GValue.gstr_type, 'vips-loader', 'heicload')
    for key, name in FIELDS.items():
        if info.get(key):
            image.set_type(pyvips.GValue.blob_type, name, info[key])
    more = [text for key, text in (('depth_images', 'a depth map'), ('aux', 'further maps, such as one for HDR'))
            if info.get(key)]
    return image, more


def write_heic(image: pyvips.Image, path: Path, quality: int) -> None:
    """Write an upright image as HEIC, with its profile and metadata.

    Raises:
        UserError: The encoder cannot.
    """
    if image.bands == 2:
        image = image.colourspace('rgb16' if image.format == 'ushort' else 'srgb')
    mode = {1: 'L', 3: 'RGB', 4: 'RGBA'}[image.bands] + (';16' if image.format == 'ushort' else '')
    kept = {key: bytes(image.get(name)) for key, name in FIELDS.items() if image.get_typeof(name)}
    heif = _heif()
    heif.misc.set_orientation(kept)  # to 1, in EXIF and XMP: it would be turned once more
    try:
        heif.from_bytes('I;16' if mode == 'L;16' else mode, (image.width, image.height),
                        image.write_to_memory()).save(path, quality=quality, **kept)
    except (RuntimeError, OSError, KeyError, TypeError) as error:
        raise UserError(' '.join(str(error).split()) or type(error).__name__) from error
