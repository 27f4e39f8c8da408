"""Read an image with all that its file holds: by libvips, HEIC by pillow-heif."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyvips
import torch

from maxl_sr.errors import UserError
from maxl_sr.formats import endings, heif, jpeg, png
from maxl_sr.formats.jpeg import JpegExtras
from maxl_sr.formats.png import PngExtras
from maxl_sr.utils.machine import free_memory

# The loaders of the formats that are read, whatever a file is called
LOADERS = ('jpegload', 'uhdrload', 'pngload', 'tiffload', 'webpload', 'heifload', 'heicload')
# What libvips warns of is among what is told of a file. pyvips also takes it into Python's log, where an image that is
# freed meanwhile may warn, too: GLib ends the process then. Without it libvips keeps silent (VIPS_WARNING, startup.py)
pyvips._remove_log_handler()
# Lines that say where libvips was, not what it found
FRAMES = ('unable to call Vips', 'unable to write to memory', 'unable to load from')
BEHIND = ': bad seek to '  # where a file that is cut would go on: a line for every attempt


def reason_of(error: Exception) -> str:
    """Return what libvips or another library says in one line, every part of it once."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(FRAMES) and BEHIND not in line]
    return '; '.join(dict.fromkeys(told or (['it is cut'] if any(BEHIND in line for line in lines) else lines)))


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
    # From top to bottom straight into memory, not by way of a temporary file
    return read(given, fail_on='warning', access='sequential', **options).copy_memory()


@dataclass(frozen=True)
class Loaded:
    """An image, in memory, and what its file holds besides.

    Attributes:
        image: The image, with the metadata that libvips knows.
        jpeg: What a JPEG file holds that libvips does not.
        png: What a PNG file holds that libvips does not.
        notes: What there is to tell of the file.
    """

    image: pyvips.Image
    jpeg: JpegExtras = field(default_factory=JpegExtras)
    png: PngExtras = field(default_factory=PngExtras)
    notes: list[str] = field(default_factory=list)


def load(path: Path) -> Loaded:
    """Read a file.

    Raises:
        UserError: It is none of the formats, damaged, or holds what would be lost.
    """
    try:
        brand = heif.brand(path)
        if brand is not None:
            _check_heif(path, brand)
        image = pyvips.Image.new_from_file(str(path), revalidate=True)  # it may be another than at the last time
        if brand is not None and image.get('heif-compression') == 'hevc':
            return _load_heic(path)
        loader = image.get('vips-loader')
        if loader not in LOADERS:
            raise UserError(f'{path} is no JPEG, PNG, TIFF, WebP, AVIF or HEIC file, whatever its name')
        _check_size(path, image)
        if loader in ('jpegload', 'uhdrload'):
            return _load_jpeg(path, loader)
        extras = png.read(path) if loader == 'pngload' else PngExtras()
        pages = max(extras.frames, image.get('n-pages') if image.get_typeof('n-pages') else 1)
        if pages > 1:
            raise UserError(f'{path} has {pages} pages; one image a file can be restored')
        return Loaded(_decode(pyvips.Image.new_from_file, str(path), revalidate=True), png=extras)
    except UserError:
        raise
    except (pyvips.Error, ValueError) as error:
        raise UserError(f'cannot read the image {path}: {reason_of(error)}') from error


def _check_heif(path: Path, brand: bytes) -> None:
    if brand in heif.SEQUENCES:
        raise UserError(f'{path} holds several pictures; one image a file can be restored')
    colours = heif.other_colours(path)
    if colours is not None:
        raise UserError(f'{path} is not in sRGB but says {colours} (nclx), which would be lost')


def _load_heic(path: Path) -> Loaded:
    if not endings.has_heic():
        raise UserError(f'{path}: {endings.HEIC_NEEDED}')
    image, more = heif.read_heic(path)
    return Loaded(image, notes=[f'{text} is left out' for text in more])


def _load_jpeg(path: Path, loader: str) -> Loaded:
    data, notes = path.read_bytes(), list[str]()
    try:
        image = _decode(pyvips.Image.jpegload, str(path), revalidate=True)
    except pyvips.Error as error:
        image, data, notes = _mended(data, error)
    if loader == 'uhdrload':  # which does not tell what the decoder warns of
        try:
            image = _decode(pyvips.Image.uhdrload, str(path), revalidate=True)
        except pyvips.Error:
            notes.append('its gain map is damaged and left out')
    extras = jpeg.read(data)
    return Loaded(image, extras, notes=notes + _left_out(extras, loader == 'uhdrload'))


def _mended(data: bytes, error: pyvips.Error) -> tuple[pyvips.Image, bytes, list[str]]:
    """Return a JPEG file of which its decoder warns without need, as it is without what that warns of."""
    reason, notes = str(error), list[str]()
    for _ in range(jpeg.FIXES):
        last = error
        for changed, told in jpeg.mended(data, reason):
            try:
                image = _decode(pyvips.Image.jpegload_buffer, changed)
                return image, changed, [*notes, f'{told}; nothing is missing']
            except pyvips.Error as further:
                if str(further) != reason:  # now it warns of something else
                    data, last = changed, further
                    notes.append(told)
                    break
        if last is error:
            break
        error, reason = last, str(last)
    raise error


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
