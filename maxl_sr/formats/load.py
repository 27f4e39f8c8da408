"""Read an image with all that its file holds: by libvips, HEIC by pillow-heif."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyvips
import torch

from maxl_sr.errors import UserError
from maxl_sr.formats import heif, jpeg, png
from maxl_sr.formats.jpeg import JpegExtras
from maxl_sr.formats.png import PngExtras
from maxl_sr.utils.machine import free_memory

# The loaders of the formats that are read, whatever a file is called
LOADERS = ('jpegload', 'uhdrload', 'pngload', 'tiffload', 'webpload', 'heifload', 'heicload')
# What libvips warns of is among what is told of a file. Taken here, for GLib would write it out itself
logging.getLogger('pyvips').addHandler(logging.NullHandler())
logging.getLogger('pyvips').propagate = False
# Lines that say where libvips was, not what it found
FRAMES = ('unable to call Vips', 'unable to write to memory', 'unable to load from')


def reason_of(error: Exception) -> str:
    """Return what libvips or another library says in one line, every part of it once."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(FRAMES)]
    return '; '.join(dict.fromkeys(told or lines))


def fields(image: pyvips.Image) -> Iterator[tuple[str, int, Any]]:
    """Yield names, types and values of what an image holds, but for what is not UTF-8, which pyvips does not take."""
    library, ffi = pyvips.vips_lib, pyvips.ffi
    array = library.vips_image_get_fields(image.pointer)
    names, number = [], 0
    while array[number] != ffi.NULL:
        names.append(ffi.string(array[number]))
        pyvips.glib_lib.g_free(array[number])
        number += 1
    pyvips.glib_lib.g_free(array)
    for raw in names:
        with suppress(UnicodeDecodeError):
            name = raw.decode()
            yield name, image.get_typeof(name), image.get(name)


def _decode(read: Any, given: Any, **options: Any) -> pyvips.Image:
    pyvips.vips_lib.vips_error_clear()  # of what was told of other files
    return read(given, fail_on='warning', **options).copy_memory()


def _mended(path: Path, error: pyvips.Error) -> tuple[pyvips.Image, bytes, list[str]]:
    """Return a JPEG file of which its decoder warns without need, as it is without what that warns of."""
    data, reason = path.read_bytes(), str(error)
    notes: list[str] = []
    for _ in range(jpeg.FIXES):
        last = error
        for changed, told in jpeg.mended(data, reason):
            try:
                image = _decode(lambda given, **options: pyvips.Image.new_from_buffer(given, '', **options), changed)
                return image, changed, [*notes, f'{told}; nothing is missing']
            except pyvips.Error as further:
                if str(further) != reason:
                    data, last = changed, further
                    notes.append(told)
                    break
        if last is error:
            break
        error, reason = last, str(last)
    raise error


def load(path: Path) -> tuple[pyvips.Image, JpegExtras, PngExtras, list[str]]:
    """Return the image of a file, what else it holds, and what there is to tell of it."""
    brand = heif.brand(path)
    if brand in heif.SEQUENCES:
        raise UserError(f'{path} holds several pictures; one image a file can be restored')
    if brand is not None:
        colours = heif.other_colours(path)
        if colours is not None:
            raise UserError(f'{path} is not in sRGB but says {colours} (nclx), which would be lost')
    extras, notes = JpegExtras(), []
    try:  # the file may be another than at the last time
        image = pyvips.Image.new_from_file(str(path), revalidate=True)
        if brand is not None and image.get('heif-compression') == 'hevc':
            if not heif.is_available():
                raise UserError(f'{path}: {heif.NEEDED}')
            image, more = heif.read_heic(path)
            return image, extras, PngExtras(), [f'{text} is left out' for text in more]
        loader = image.get('vips-loader')
        if loader not in LOADERS:
            raise UserError(f'{path} is no JPEG, PNG, TIFF, WebP, AVIF or HEIC file, whatever its name')
        found = png.read(path) if loader == 'pngload' else PngExtras()
        pages = found.frames if found.frames > 1 else image.get('n-pages') if image.get_typeof('n-pages') else 1
        if pages > 1:
            raise UserError(f'{path} has {pages} pages; one image a file can be restored')
        _check_size(path, image)
        data: bytes | None = None
        try:
            image = _decode(pyvips.Image.new_from_file, str(path), revalidate=True)
        except pyvips.Error as error:
            if loader == 'uhdrload':
                image, notes = _decode(pyvips.Image.jpegload, str(path), revalidate=True), ['its gain map is damaged']
            elif loader != 'jpegload':
                raise
            else:
                image, data, notes = _mended(path, error)
        if loader in ('jpegload', 'uhdrload'):
            extras = jpeg.read(data or path.read_bytes())
            notes += _left_out(extras, bool(image.get_typeof('gainmap-data')))
        return image, extras, found, notes
    except pyvips.Error as error:
        raise UserError(f'cannot read the image {path}: {reason_of(error)}') from error
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f'cannot read the image {path}: {reason_of(error)}') from error


def _check_size(path: Path, image: pyvips.Image) -> None:
    size = image.width * image.height * image.bands * (2 if image.format == 'ushort' else 1)
    if size > free_memory(torch.device('cpu')):
        raise UserError(f'{path}: {image.width}×{image.height} pixels are more than fit into the memory')


def _left_out(extras: JpegExtras, has_gain_map: bool) -> list[str]:
    further = extras.pictures - 1 - has_gain_map
    notes = []
    if further > 0:
        number = f'{further} further pictures of the file (MPO) are' if further > 1 else (
            '1 further picture of the file (MPO) is')
        notes.append(f'{number} left out')
    if extras.behind:
        notes.append(f'{extras.behind} bytes behind the picture are left out (of a motion photo, for one)')
    if extras.segments:
        notes.append(f"the segments {', '.join(extras.segments)} are left out")
    return notes
