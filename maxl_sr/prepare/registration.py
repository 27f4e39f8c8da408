"""Registration of a noisy image and its ground truth to a small fraction of a pixel.

The shift between two shots from a tripod is rarely the same over the image: the focus breathes, the camera turns a
little. It is described by an affine field, a shift and its linear change over the image, which is fitted robustly to
the shifts of tiles. Those are found by least squares on the linearised image (Lucas and Kanade, 1981), which also says
how far each tile can be trusted: flat tiles tell nothing.
"""

import functools
import math
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import affine_transform
from scipy.optimize import least_squares

BLUR = 2.0  # standard deviation in pixels before shifts are estimated: noise and the blocks of JPEG go, texture stays
TILE, LEAST_TILE = 512, 64  # sides of the tiles
DEVIATION = 0.3  # pixels; tiles that are known less exactly are left out
EXACT = 0.03  # pixels; no tile is trusted more than this
CHANGE = 1.0  # pixels; expected linear change from the middle of an image to its border
PRECISE = 0.1  # pixels; standard deviation of the mean shift at which an image counts as registered
RESIDUAL = 0.25  # pixels; median shift of the tiles afterwards, above which it does not
LARGEST = 32.0  # pixels
ROUNDS = 4
GRID = 8  # of JPEG
SMOOTH = 1.5  # before phase correlation: with less, noise makes outliers of many pixels; with more, texture is lost


class Unregistrable(Exception):
    """Two images cannot be registered; the message says why."""


class Registration(NamedTuple):
    """An affine field of shifts: the pixel (x, y) of the noisy image shows what the other one shows at (x, y) + shift.

    Attributes:
        field: ``(2, 3)``, in pixels: shift (x, y) in the middle, its change from there to the right border, and to the
            lower one.
        before: Median shift of the tiles.
        after: Median shift of the tiles that the field leaves.
    """

    field: np.ndarray
    before: float
    after: float

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return `image` ``(H, W[, C])`` moved onto the noisy one: cubic splines, once, in floating point."""
        height, width = image.shape[:2]
        (x0, xu, xv), (y0, yu, yv) = self.field
        matrix = np.eye(2) + 2 * np.array([[yv / height, yu / width], [xv / height, xu / width]])
        offset = np.array([y0 - yu - yv, x0 - xu - xv])
        channels = [affine_transform(channel, matrix, offset, output=np.float32, order=3, mode='mirror')
                    for channel in np.moveaxis(np.atleast_3d(image).astype(np.float32), -1, 0)]
        return np.stack(channels, -1).reshape(image.shape)

    def margin(self) -> int:
        """Return the width of the border that the field may have filled from outside, in whole blocks of JPEG."""
        return GRID * math.ceil((float(np.abs(self.field).sum(1).max()) + 2) / GRID)


_hanning = functools.lru_cache(maxsize=4)(cv2.createHanningWindow)


class _Shifts(NamedTuple):
    """Shifts of tiles ``(N, 2)``, their standard deviations ``(N, 2)``, and ``(N, 3)``: 1 and the place (−1 to 1)."""

    shift: np.ndarray
    deviation: np.ndarray
    place: np.ndarray


def _smooth(image: np.ndarray) -> np.ndarray:
    blurred: np.ndarray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32), (0, 0), BLUR)
    return blurred


def _starts(length: int, side: int) -> np.ndarray:
    return np.linspace(0, length - side, max(length // side, 1)).astype(int)


def _tile_shifts(noisy: np.ndarray, clean: np.ndarray) -> _Shifts:
    """The shifts of the tiles of two smoothed grey images, and how exactly they are known."""
    height, width = clean.shape
    side = min(max(min(height, width) // 3, LEAST_TILE), TILE, height, width)
    gradients = [cv2.Scharr(clean, cv2.CV_32F, *axis, scale=1 / 32) for axis in ((1, 0), (0, 1))]
    found = []
    for top in _starts(height, side):
        for left in _starts(width, side):
            box = (slice(top, top + side), slice(left, left + side))
            mean = clean[box].mean()
            # noisy = gain · (clean + gradient · shift) + offset; the gradient of the clean one: noise would bias it
            terms = np.stack([*(g[box].ravel() for g in gradients), clean[box].ravel() - mean, np.ones(side * side)], 1)
            target = noisy[box].ravel() - mean
            weights = np.ones(len(target))
            for _ in range(3):  # what moved between the shots counts less and less
                normal = terms.T @ (terms * weights[:, None]) + 1e-6 * np.eye(4)
                solution = np.linalg.solve(normal, terms.T @ (weights * target))
                rest = target - terms @ solution
                scale = 1.4826 * np.median(np.abs(rest)) + 1e-6
                weights = 1 / (1 + (rest / (3 * scale)) ** 2)
            # The smoothing has made neighbours alike: so many pixels count as one
            variance = np.diag(np.linalg.inv(normal))[:2] * scale ** 2 * 4 * math.pi * BLUR ** 2
            gain = solution[2]
            if gain > 0.2 and (variance < (DEVIATION * gain) ** 2).all():
                place = (1.0, (2 * left + side) / width - 1, (2 * top + side) / height - 1)
                found.append((solution[:2] / gain, np.sqrt(variance) / gain, place))
    if not found:
        return _Shifts(np.empty((0, 2)), np.empty((0, 2)), np.empty((0, 3)))
    return _Shifts(*(np.array(column) for column in zip(*found)))


def _fit(tiles: _Shifts) -> np.ndarray:
    """The affine field ``(2, 3)`` of the shifts of tiles; outliers hardly count."""
    weights = 1 / np.hypot(tiles.deviation, EXACT)

    def residuals(values: np.ndarray) -> np.ndarray:
        field = values.reshape(2, 3)
        rest = (tiles.shift - tiles.place @ field.T) * weights
        return np.concatenate([rest.ravel(), field[:, 1:].ravel() / CHANGE])

    found: np.ndarray = least_squares(residuals, np.zeros(6), loss='cauchy').x.reshape(2, 3)
    return found


def register(noisy: np.ndarray, clean: np.ndarray) -> Registration:
    """Return the field by which `clean` comes onto `noisy`, BGR images ``(H, W, 3)`` of one size.

    Raises:
        Unregistrable: They are too small, have too little texture or are too far apart, or tiles move in ways of their
            own.

    Examples:
        >>> rows, columns = np.mgrid[:128, :160]
        >>> clean = np.repeat((128 + 60 * np.sin(rows / 5) * np.cos(columns / 4))[..., None], 3, 2).astype(np.uint8)
        >>> found = register(np.roll(clean, 1, axis=1), clean)  # what it shows at x is at x − 1 in `clean`
        >>> found.field[:, 0].round(1)
        array([-1.,  0.])
    """
    if min(noisy.shape[:2]) <= 2 * GRID:
        raise Unregistrable('too small')
    noisy, clean = _smooth(noisy), _smooth(clean)
    field = np.zeros((2, 3))
    if np.ptp(noisy) and np.ptp(clean):
        # Copies: OpenCV multiplies its arguments by the window in place
        coarse, _ = cv2.phaseCorrelate(noisy.copy(), clean.copy(), _hanning(noisy.shape[::-1], cv2.CV_32F))
        if 1 < math.hypot(*coarse) <= LARGEST:  # else the tiles find it, or nothing does
            field[:, 0] = coarse
    for number in range(ROUNDS):
        moved = Registration(field, 0, 0).apply(clean)
        tiles = _tile_shifts(noisy, moved)
        if not len(tiles.shift) or (1 / (np.hypot(tiles.deviation, EXACT) ** -2).sum(0)).max() > PRECISE ** 2:
            raise Unregistrable('too little texture')
        if number < ROUNDS - 1:
            field = field + _fit(tiles)
            if not np.abs(field).max() <= LARGEST:
                raise Unregistrable(f'shifted by more than {LARGEST:g} px')
    before, after = (float(np.median(np.hypot(*shift.T)))
                     for shift in (tiles.place @ field.T + tiles.shift, tiles.shift))
    if after > RESIDUAL:
        raise Unregistrable(f'its parts are still shifted by {after:.2f} px')
    return Registration(field, before, after)


def shift_between(lq: np.ndarray, gt: np.ndarray) -> float:
    """Return the pixels by which two BGR images are shifted, by phase correlation; 0 where there is no texture."""
    height, width = gt.shape[:2]
    if min(height, width) < 16:
        return 0.0
    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) for image in (lq, gt)]
    if min(float(np.ptp(image)) for image in grey) == 0:
        return 0.0
    first, second = (cv2.GaussianBlur(image, (0, 0), SMOOTH) for image in grey)
    (x, y), _ = cv2.phaseCorrelate(first, second, _hanning((width, height), cv2.CV_32F))
    return math.hypot(x, y)
