"""Blur, sub-sampling, noise and compression of clean images, by BasicSR's own functions."""

import math
from typing import Annotated, Literal

import cv2
import numpy as np
from annotated_types import Ge, Le
from basicsr.data.degradations import add_jpg_compression, random_mixed_kernels
from basicsr.utils.matlab_functions import imresize

from maxl_sr.data.camera_noise import CameraNoise, add_camera_noise
from maxl_sr.data.motion_kernel import motion_kernel
from maxl_sr.data.noise import Noise, Range, add_noise
from maxl_sr.settings.section import Section
from maxl_sr.settings.types import FINITE, INTEGER, NUMBER, STRICT, AtLeast1, Pair, Positive, Share
from maxl_sr.utils.seeding import seeded

Level = Annotated[float, FINITE, Ge(2), Le(256), NUMBER]
Quality = Annotated[float, FINITE, Ge(1), Le(100), NUMBER]


class Degradation(Section):
    """``degradation`` of :class:`SyntheticDegradationDataset`: blur, sub-sampling, noise, its reduction, compression.

    They come in this order, quantisation before compression.

    Attributes:
        sigma: Gaussian blur: range of the standard deviation, in pixels of the clean image; the two axes of an
            anisotropic one draw each their own.
        isotropic_share: Share of the Gaussian kernels that are isotropic.
        motion: Linear motion blur: range of its length in pixels; its direction is uniform. With both kinds of blur,
            an image gets one or the other with equal probability.
        kernel_size: Side of the blur kernels, an odd number of pixels.
        downsample: 'bicubic' (MATLAB's, with anti-aliasing) or 'direct' (every s-th pixel, beginning with the first).
        noise: Noise, :class:`~maxl_sr.data.noise.Noise`; null: none.
        camera: Noise of a camera, :class:`~maxl_sr.data.camera_noise.CameraNoise`; null: none.
        reduction: Share of the noise that the noise reduction of a camera takes away: an edge-preserving filter in the
            luma, a wide one in the chroma. Its residue is blotchy. null: none.
        levels: Number of levels to which every channel is quantised; null: none.
        jpeg: Range of the quality of a JPEG compression, 1 to 100, with chroma at half the size; null: none.
        jpeg_times: How many times in turn it is compressed, each time at another quality and, after the first time, on
            another grid of blocks, as a cropped photograph is.
    """

    sigma: Pair[Positive] | None = None
    isotropic_share: Share = 0.5
    motion: Pair[AtLeast1] | None = None
    kernel_size: Annotated[int, STRICT, Ge(3), INTEGER] = 21
    downsample: Literal['bicubic', 'direct'] = 'bicubic'
    noise: Noise | None = None
    camera: CameraNoise | None = None
    reduction: Pair[Share] | None = None
    levels: Pair[Level] | None = None
    jpeg: Pair[Quality] | None = None
    jpeg_times: Pair[AtLeast1] = (1, 1)


def random_kernel(degradation: Degradation, rng: np.random.Generator) -> np.ndarray | None:
    """Draw the blur kernel of an image; None where there is no blur."""
    kinds = [kind for kind in ('sigma', 'motion') if getattr(degradation, kind) is not None]
    if not kinds:
        return None
    if rng.choice(kinds) == 'motion':
        assert degradation.motion is not None
        return motion_kernel(degradation.kernel_size, rng.uniform(*degradation.motion), rng.uniform(0, math.pi))
    assert degradation.sigma is not None
    share, (low, high) = degradation.isotropic_share, degradation.sigma
    sigma = (low, max(high, low * (1 + 1e-9)))  # BasicSR does not take one value for a range
    with seeded(int(rng.integers(2 ** 32))):  # and draws from the global generators
        return random_mixed_kernels(('iso', 'aniso'), (share, 1 - share), degradation.kernel_size, sigma, sigma)


def reduce_noise(noisy: np.ndarray, clean: np.ndarray, share: float) -> np.ndarray:
    """Return `noisy` after a camera's noise reduction that takes `share` of what its filters would take.

    Both are (H, W, 3), BGR, float32; the strength of the filters is that of the noise, the difference of the two.
    """
    luma, *chroma = cv2.split(cv2.cvtColor(noisy.astype(np.float32), cv2.COLOR_BGR2YCrCb))
    sigma = float(np.std(noisy - clean))
    filtered = [cv2.bilateralFilter(luma, 7, 2.5 * sigma + 1e-6, 2.0),
                *(cv2.GaussianBlur(channel, (0, 0), 2.0) for channel in chroma)]
    smooth = cv2.cvtColor(cv2.merge(filtered), cv2.COLOR_YCrCb2BGR)
    return noisy + np.float32(share) * (smooth - noisy)


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """BasicSR's JPEG compression, without OpenCV's warning that it is given floating point."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        result: np.ndarray = add_jpg_compression(image, quality)
        return result
    finally:
        cv2.utils.logging.setLogLevel(level)


def compress(image: np.ndarray, quality: Range, times: Range, rng: np.random.Generator) -> np.ndarray:
    """Return `image` (H, W, 3), float32 in [0, 1], after so many JPEG compressions of random quality."""
    low, high = (round(limit) for limit in quality)
    least, most = (round(limit) for limit in times)
    number = least if least == most else int(rng.integers(least, most + 1))
    for time in range(number):
        offset = (0, 0) if time == 0 else tuple(-int(shift) for shift in rng.integers(0, 8, 2))
        moved = np.ascontiguousarray(np.roll(image, offset, (0, 1)))
        moved = _compressed(moved, int(rng.integers(low, high + 1)))
        image = np.roll(moved, tuple(-shift for shift in offset), (0, 1))
    return image


def degrade(clean: np.ndarray, degradation: Degradation, noise: Noise | None, scale: int, rng: np.random.Generator,
            camera: CameraNoise | None = None) -> np.ndarray:
    """Return the degraded image (H/s, W/s, 3) of `clean` (H, W, 3), float32 in [0, 1], clipped.

    Examples:
        >>> image = np.full((32, 32, 3), 0.5, np.float32)
        >>> degrade(image, Degradation(sigma=(1, 2)), None, 2, np.random.default_rng(0)).shape
        (16, 16, 3)
    """
    image = clean
    kernel = random_kernel(degradation, rng)
    if kernel is not None:
        # cv2 correlates: turned, it is a convolution
        image = cv2.filter2D(image, -1, np.ascontiguousarray(kernel[::-1, ::-1]), borderType=cv2.BORDER_REFLECT_101)
    if scale > 1:
        image = imresize(image, 1 / scale) if degradation.downsample == 'bicubic' else image[::scale, ::scale]
    before = image
    if noise is not None:
        image = add_noise(image, noise, rng)
    if camera is not None:
        image = add_camera_noise(image, camera, rng)
    if degradation.reduction is not None:
        image = reduce_noise(image, before, rng.uniform(*degradation.reduction))
    if degradation.levels is not None:
        low, high = (round(limit) for limit in degradation.levels)
        steps = np.float32(rng.integers(low, high + 1) - 1)
        image = np.round(np.clip(image, 0, 1) * steps) / steps
    if degradation.jpeg is not None:
        image = compress(image, degradation.jpeg, degradation.jpeg_times, rng)
    return np.clip(image, 0, 1).astype(np.float32)
