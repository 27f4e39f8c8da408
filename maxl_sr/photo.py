"""Photographs as files: their pixels, and all else that they hold, which stays as it is."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from maxl_sr.errors import UserError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.webp')
INTERPRETATIONS = {'b-w': 1, 'grey16': 1, 'srgb': 3, 'rgb16': 3, 'rgb': 3}  # with their channels, besides alpha
QUALITY = 95  # of JPEG and WebP
SAVE_OPTIONS: dict[str, dict[str, Any]] = {'.jpg': {'Q': QUALITY}, '.jpeg': {'Q': QUALITY}, '.webp': {'Q': QUALITY},
                '.tif': {'compression': 'deflate'}, '.tiff': {'compression': 'deflate'}}


def _reason(error: pyvips.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else 'unknown error'


@dataclass(frozen=True)
class Photo:
    """An image that was read from a file.

    Attributes:
        pixels: ``(H, W, 1)`` or ``(H, W, 3)``, uint8 or uint16, as they are stored: neither turned by the EXIF
            orientation nor converted from their colour profile, both of which are kept beside them.
    """

    pixels: np.ndarray
    _alpha: pyvips.Image | None
    _source: pyvips.Image  # for what it holds besides the pixels

    @classmethod
    def read(cls, path: str | Path) -> 'Photo':
        """Read a JPEG, PNG, TIFF or WebP file.

        Raises:
            UserError: There is no such file, it is no image or not a whole one, or of a kind that is not supported
                (CMYK, several pages, floating point).
        """
        if not os.path.isfile(path):
            raise UserError(f'there is no file {path}')
        try:
            source = pyvips.Image.new_from_file(str(path), fail_on='warning', memory=True,
                                                revalidate=True)  # the file may be another than at the last time
            if source.get_typeof('n-pages') and source.get('n-pages') > 1:
                raise UserError(f"{path} has {source.get('n-pages')} pages; one image a file can be restored")
            if source.format not in ('uchar', 'ushort') or source.interpretation not in INTERPRETATIONS:
                raise UserError(f'{path} is {source.interpretation} of {source.format}; grey and RGB of 8 or 16 bits '
                                'can be restored')
            channels = INTERPRETATIONS[source.interpretation]
            alpha = source.extract_band(channels, n=source.bands - channels) if source.bands > channels else None
            pixels = source.extract_band(0, n=channels).numpy()
        except pyvips.Error as error:
            raise UserError(f'cannot read the image {path}: {_reason(error)}') from error
        return cls(pixels.reshape(source.height, source.width, channels), alpha, source)

    def write(self, pixels: np.ndarray, path: str | Path) -> None:
        """Write `pixels` in place of those of this image, with its alpha, profile and metadata, in one go.

        Args:
            pixels: ``(sH, sW, C)`` of the kind of :attr:`pixels`; alpha is enlarged along.
            path: JPEG (quality 95), PNG, TIFF or WebP (quality 95) by its ending; the folder must exist.

        Raises:
            UserError: The ending is none of these, the format cannot hold the image, or it cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise UserError(f"{path}: the ending must be one of {', '.join(SUFFIXES)}")
        if pixels.dtype == np.uint16 and suffix not in ('.png', '.tif', '.tiff'):
            raise UserError(f'{path}: {suffix} cannot hold 16 bits; use .png or .tif')
        if self._alpha is not None and suffix in ('.jpg', '.jpeg'):
            raise UserError(f'{path}: {suffix} cannot hold an alpha channel; use .png, .tif or .webp')
        image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
        if self._alpha is not None:
            scale = image.width / self._alpha.width
            image = image.bandjoin(self._alpha if scale == 1 else self._alpha.resize(scale))
        image = image.copy(interpretation=self._source.interpretation, xres=self._source.xres, yres=self._source.yres)
        self._copy_metadata(image)
        partial = path.with_name(f'.{path.stem}-{uuid.uuid4().hex}.partial{suffix}')
        try:
            image.write_to_file(str(partial), **SAVE_OPTIONS.get(suffix, {}))
            os.replace(partial, path)
        except pyvips.Error as error:
            raise UserError(f'cannot write {path}: {_reason(error)}') from error
        finally:
            partial.unlink(missing_ok=True)

    def _copy_metadata(self, image: pyvips.Image) -> None:
        own = {'width', 'height', 'bands', 'format', 'coding', 'interpretation', 'xoffset', 'yoffset', 'xres', 'yres',
               'filename', 'vips-loader', 'n-pages', 'bits-per-sample', 'palette'}
        for name in self._source.get_fields():
            if name not in own:
                image.set_type(self._source.get_typeof(name), name, self._source.get(name))


def photos(path: Path) -> list[Path]:
    """Return the image files of a folder and its sub-folders, by name, or `path` itself where it is none."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob('*') if file.suffix.lower() in SUFFIXES and file.is_file()
                  and not file.name.startswith('.'))
