"""Photographs as files: their pixels, and all else that they hold, which stays as it is."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyvips

from maxl_sr.errors import UserError
from maxl_sr.utils.files import replacing

SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.webp')
LOADERS = ('jpegload', 'pngload', 'tiffload', 'webpload')  # the formats of these endings, whatever a file is called
INTERPRETATIONS = {'b-w': 1, 'grey16': 1, 'srgb': 3, 'rgb16': 3, 'rgb': 3}  # with their channels, besides alpha
QUALITY = 95  # of JPEG and WebP
SAVE_OPTIONS: dict[str, dict[str, Any]] = {'.jpg': {'Q': QUALITY}, '.jpeg': {'Q': QUALITY}, '.webp': {'Q': QUALITY},
                '.tif': {'compression': 'deflate'}, '.tiff': {'compression': 'deflate'}}


def _reason(error: Exception) -> str:
    return '; '.join(line.strip() for line in str(error).splitlines() if line.strip())


def _check_name(path: str | Path) -> None:
    try:
        str(path).encode()
    except UnicodeError as error:
        raise UserError(f'{ascii(str(path))}: the name is not UTF-8; rename it') from error


@dataclass(frozen=True)
class Photo:
    """An image that was read from a file.

    Attributes:
        pixels: ``(H, W, 1)`` or ``(H, W, 3)``, uint8 or uint16, as they are stored: neither turned by the EXIF
            orientation nor converted from their colour profile, both of which are kept beside them.
    """

    pixels: np.ndarray
    _alpha: np.ndarray | None
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
        _check_name(path)
        try:
            source = pyvips.Image.new_from_file(str(path), fail_on='warning', memory=True,
                                                revalidate=True)  # the file may be another than at the last time
            if source.get('vips-loader') not in LOADERS:
                raise UserError(f'{path} is no JPEG, PNG, TIFF or WebP file, whatever its name')
            if source.get_typeof('n-pages') and source.get('n-pages') > 1:
                raise UserError(f"{path} has {source.get('n-pages')} pages; one image a file can be restored")
            if source.format not in ('uchar', 'ushort') or source.interpretation not in INTERPRETATIONS:
                raise UserError(f'{path} is {source.interpretation} of {source.format}; grey and RGB of 8 or 16 bits '
                                'can be restored')
            channels = INTERPRETATIONS[source.interpretation]
            more = source.bands - channels
            alpha = source.extract_band(channels, n=more).numpy() if more else None
            pixels = source.extract_band(0, n=channels).numpy()
        except pyvips.Error as error:
            raise UserError(f'cannot read the image {path}: {_reason(error)}') from error
        return cls(pixels.reshape(source.height, source.width, channels), alpha, source)

    def write(self, pixels: np.ndarray, path: str | Path) -> None:
        """Write `pixels` in place of those of this image, with its alpha, profile and metadata, in one go.

        Args:
            pixels: ``(sH, sW, C)`` of the kind of :attr:`pixels`; alpha is enlarged with them.
            path: JPEG (quality 95), PNG, TIFF or WebP (quality 95) by its ending; the folder must exist.

        Raises:
            UserError: As :meth:`check_target`, or the file cannot be written.
        """
        path = Path(path)
        self.check_target(path)
        if self._alpha is not None:
            size = pixels.shape[1::-1]
            alpha = self._alpha if self._alpha.shape[1::-1] == size else cv2.resize(self._alpha, size,
                                                                                    interpolation=cv2.INTER_CUBIC)
            pixels = np.concatenate([pixels, alpha.reshape(*pixels.shape[:2], -1)], axis=2)
        image = self._with_metadata(pixels)
        try:
            with replacing(path) as partial:
                image.write_to_file(str(partial), **SAVE_OPTIONS.get(path.suffix.lower(), {}))
        except (pyvips.Error, OSError) as error:
            raise UserError(f'cannot write {path}: {_reason(error)}') from error

    def shown(self, pixels: np.ndarray) -> pyvips.Image:
        """Return `pixels`, those of this image, of a part of it or of its restored image, as a screen shows them.

        Converted from the colour profile to sRGB of 8 bits, turned upright, without alpha; computed when it is written.
        """
        image = self._with_metadata(pixels)
        if image.get_typeof('icc-profile-data'):
            with suppress(pyvips.Error):  # a profile of another kind of image is left aside, as viewers do
                image = image.icc_transform('srgb', embedded=True)
        return image.colourspace('srgb').cast('uchar').autorot()

    def shown_values(self, values: np.ndarray) -> pyvips.Image:
        """Return values ``(H, W)`` in [0, 1], one a pixel of this image or a part of it, as grey, turned upright."""
        image = pyvips.Image.new_from_array((values * 255).round().astype(np.uint8)).copy()
        if self._source.get_typeof('orientation'):
            image.set_type(pyvips.GValue.gint_type, 'orientation', self._source.get('orientation'))
        return image.autorot()

    def check_target(self, path: Path) -> None:
        """Refuse a file that cannot hold this image.

        Raises:
            UserError: The ending is of another format, or the format has no alpha or not so many bits.
        """
        _check_name(path)
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise UserError(f"{path}: the ending must be one of {', '.join(SUFFIXES)}")
        if self.pixels.dtype == np.uint16 and suffix not in ('.png', '.tif', '.tiff'):
            raise UserError(f'{path}: {suffix} cannot hold 16 bits; use .png or .tif')
        if self._alpha is not None and suffix in ('.jpg', '.jpeg'):
            raise UserError(f'{path}: {suffix} cannot hold an alpha channel; use .png, .tif or .webp')

    def _with_metadata(self, pixels: np.ndarray) -> pyvips.Image:
        image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
        image = image.copy(interpretation=self._source.interpretation, xres=self._source.xres, yres=self._source.yres)
        own = {'width', 'height', 'bands', 'format', 'coding', 'interpretation', 'xoffset', 'yoffset', 'xres', 'yres',
               'filename', 'vips-loader', 'n-pages', 'bits-per-sample', 'palette'}
        for name in self._source.get_fields():
            if name not in own:
                image.set_type(self._source.get_typeof(name), name, self._source.get(name))
        return image


def photos(path: Path) -> list[Path]:
    """Return the image files of a folder and its sub-folders but hidden ones, by name; of a file, itself."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob('*') if file.suffix.lower() in SUFFIXES and file.is_file()
                  and not any(part.startswith('.') for part in file.relative_to(path).parts))


def megapixels(path: Path) -> float:
    """Return the size of the image of a file by its header; 0 where it cannot be read."""
    try:
        image = pyvips.Image.new_from_file(str(path), access='sequential', revalidate=True)
    except (pyvips.Error, UnicodeError):
        return 0
    return image.width * image.height / 1e6
