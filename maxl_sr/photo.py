"""Photographs as files: their pixels, and all else that they hold, which stays as it is."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyvips

from maxl_sr.errors import UserError
from maxl_sr.formats import heif, jpeg, png
from maxl_sr.formats.endings import HEIC, JPEG, QUALITY, check_suffix
from maxl_sr.formats.jpeg import JpegExtras
from maxl_sr.formats.load import fields, load, reason_of
from maxl_sr.formats.png import PngExtras
from maxl_sr.utils.files import check_file, check_name, replacing

INTERPRETATIONS = {'b-w': 1, 'grey16': 1, 'srgb': 3, 'rgb16': 3, 'rgb': 3}  # with their channels, besides alpha
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    '.jpg': {'Q': QUALITY}, '.jpeg': {'Q': QUALITY}, '.webp': {'Q': QUALITY}, '.tif': {'compression': 'deflate'},
    '.tiff': {'compression': 'deflate'}, '.avif': {'Q': QUALITY, 'compression': 'av1', 'effort': 2},
}  # yapf: disable
OWN = {'width', 'height', 'bands', 'format', 'coding', 'interpretation', 'xoffset', 'yoffset', 'xres', 'yres',
       'filename', 'vips-loader', 'n-pages', 'bits-per-sample', 'palette', 'heif-primary', 'heif-compression',
       'heif-bitdepth'}


@dataclass(frozen=True)
class Photo:
    """An image that was read from a file.

    Attributes:
        pixels: ``(H, W, 1)`` or ``(H, W, 3)``, uint8 or uint16, as they are stored: neither turned by the EXIF
            orientation nor converted from their colour profile, both of which are kept beside them.
        notes: What there is to tell of the file: what was odd about it, and what it holds that is left out.
    """

    pixels: np.ndarray
    _alpha: np.ndarray | None
    _source: pyvips.Image  # for what it holds besides the pixels
    _jpeg: JpegExtras = field(default_factory=JpegExtras)
    _png: PngExtras = field(default_factory=PngExtras)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: str | Path) -> 'Photo':
        """Read a JPEG, PNG, TIFF, WebP, AVIF or (with the extra ``heic``) HEIC file.

        Raises:
            UserError: There is no such file, it is no image or not a whole one, or of a kind that is not supported
                (CMYK, several pages, floating point).
        """
        check_file(path)
        check_name(path)
        try:
            loaded = load(Path(path))
        except OSError as error:
            raise UserError(f'cannot read the image {path}: {error.strerror}') from error
        source = loaded.image
        if source.format not in ('uchar', 'ushort') or source.interpretation not in INTERPRETATIONS:
            raise UserError(f'{path} is {source.interpretation} of {source.format}; grey and RGB of 8 or 16 bits '
                            'can be restored')
        channels = INTERPRETATIONS[source.interpretation]
        more = source.bands - channels
        alpha = source.extract_band(channels, n=more).numpy() if more else None
        pixels = source.extract_band(0, n=channels).numpy()
        return cls(pixels.reshape(source.height, source.width, channels), alpha, source, loaded.jpeg, loaded.png,
                   loaded.notes)

    @property
    def visible(self) -> np.ndarray:
        """:attr:`pixels` with, where alpha is 0, the colour of the nearest pixel that is seen.

        What a network makes of an edge depends on the colours beside it, and any may be hidden there.
        """
        if self._alpha is None:
            return self.pixels
        alpha = self._alpha.reshape(*self.pixels.shape[:2], -1)[..., 0]
        hidden = (alpha == 0).astype(np.uint8)
        if not hidden.any() or hidden.all():
            return self.pixels
        _, nearest = cv2.distanceTransformWithLabels(hidden, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        seen = hidden == 0
        at = np.zeros(nearest.max() + 1, np.int64)  # of the pixel that a label is of
        at[nearest[seen]] = np.flatnonzero(seen)
        return self.pixels.reshape(-1, self.pixels.shape[2])[at[nearest]]

    def write(self, pixels: np.ndarray, path: str | Path) -> None:
        """Write `pixels` in place of those of this image, with its alpha, profile and metadata, in one go.

        Args:
            pixels: ``(sH, sW, C)`` of the kind of :attr:`pixels`; alpha is enlarged with them.
            path: JPEG (quality 95), PNG, TIFF, WebP, AVIF or HEIC (quality 95) by its ending; the folder must exist.

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
        suffix = path.suffix.lower()
        image = self._with_metadata(pixels)
        if suffix in (*HEIC, '.avif'):  # readers of HEIF do not look at the EXIF orientation
            image = image.autorot()
        pyvips.vips_lib.vips_error_clear()
        partial = path
        try:
            with replacing(path) as partial:
                if suffix in HEIC:
                    heif.write_heic(image, partial, QUALITY)
                else:
                    self._save(image, partial, suffix)
        except (pyvips.Error, OSError, ValueError) as error:
            told = reason_of(error).replace(f'{partial}: ', '')
            raise UserError(f'cannot write {path}: {told}') from error

    def _save(self, image: pyvips.Image, path: Path, suffix: str) -> None:
        options = SAVE_OPTIONS.get(suffix, {})
        if suffix == '.avif':
            options = {**options, 'bitdepth': 8 if self.pixels.dtype == np.uint8 else self._bits}
        if suffix == '.png' and self._png.text:  # which holds the very same texts
            for name, _, _ in list(fields(image)):
                if name == 'xmp-data' or name.startswith('png-comment-'):
                    image.remove(name)
        image.write_to_file(str(path), **options)
        if suffix == '.png' and (self._png.colour or self._png.text):
            path.write_bytes(png.with_extras(path.read_bytes(), self._png))
        if suffix in JPEG and self._jpeg.comments:
            path.write_bytes(jpeg.with_comments(path.read_bytes(), self._jpeg.comments))

    def shown(self, pixels: np.ndarray) -> pyvips.Image:
        """Return `pixels`, those of this image, of a part of it or of its restored image, as a screen shows them.

        Converted from the colour profile to sRGB of 8 bits, turned upright, without alpha; computed when it is written.
        """
        image = self._with_metadata(pixels)
        if image.get_typeof('icc-profile-data'):
            with suppress(pyvips.Error):  # a profile of another kind of image is left aside, as viewers do
                image = image.icc_transform('srgb', embedded=True)
        return image.colourspace('srgb').cast('uchar').autorot()

    def shown_array(self) -> np.ndarray:
        """Return this image as a screen shows it, ``(H, W, 3)`` of uint8."""
        return self.shown(self.pixels).extract_band(0, n=3).numpy()

    def shown_values(self, values: np.ndarray) -> pyvips.Image:
        """Return values ``(H, W)`` in [0, 1], one a pixel of this image or a part of it, as grey, turned upright."""
        image = pyvips.Image.new_from_array((values * 255).round().astype(np.uint8)).copy()
        if self._source.get_typeof('orientation'):
            image.set_type(pyvips.GValue.gint_type, 'orientation', self._source.get('orientation'))
        return image.autorot()

    @property
    def _bits(self) -> int:
        return self._source.get('bits-per-sample') if self._source.get_typeof('bits-per-sample') else 16

    def check_target(self, path: Path) -> None:
        """Refuse a file that cannot hold this image.

        Raises:
            UserError: The ending is of another format, or the format has no alpha, not so many bits or other colours.
        """
        check_name(path)
        check_suffix(path)
        suffix = path.suffix.lower()
        deep = self.pixels.dtype == np.uint16
        if deep and (suffix not in ('.png', '.tif', '.tiff', '.avif', *HEIC)
                     or suffix == '.avif' and self._bits > 12 or suffix in HEIC and self._bits > 10):
            raise UserError(f'{path}: {suffix} cannot hold {self._bits} bits; use .png or .tif')
        if self._alpha is not None and suffix in JPEG:
            raise UserError(f'{path}: {suffix} cannot hold an alpha channel; use .png, .tif or .webp')
        if suffix != '.png' and self._png.changes_colour and not self._source.get_typeof('icc-profile-data'):
            raise UserError(f"{path}: {suffix} cannot hold what the file says of its colours "
                            f"({', '.join(self._png.changes_colour)}); use .png")

    def losses(self, path: Path) -> list[str]:
        """Return what this image has that goes along, but not into a file of the ending of `path`."""
        suffix, lost = path.suffix.lower(), []
        if suffix not in JPEG:
            lost += ['its comments'] if self._jpeg.comments else []
            lost += ['its gain map'] if self._source.get_typeof('gainmap-data') else []
        if suffix != '.png' and any(part[8:].split(b'\0')[0] != b'XML:com.adobe.xmp' for part in self._png.text):
            lost.append('its texts')
        return [f'{suffix} cannot hold {part}, which is left out' for part in lost]

    def _with_metadata(self, pixels: np.ndarray) -> pyvips.Image:
        image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
        image = image.copy(interpretation=self._source.interpretation, xres=self._source.xres, yres=self._source.yres)
        for name, kind, value in fields(self._source):
            if name not in OWN:
                image.set_type(kind, name, value)
        return image
