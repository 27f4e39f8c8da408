"""Blur, sub-sampling, noise and compression of clean images, by BasicSR's own functions."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from basicsr.data.degradations import add_jpg_compression, random_mixed_kernels
from basicsr.utils.matlab_functions import imresize

from maxl_sr.data.camera_noise import CameraNoise, add_camera_noise
from maxl_sr.data.motion_kernel import motion_kernel
from maxl_sr.data.noise import Noise, Range, add_noise
from maxl_sr.resume import seeded


@dataclass(frozen=True)
class Degradation:
    """``degradation`` of :class:`SyntheticDegradationDataset`: blur, sub-sampling, noise, compression, in this order.

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
        jpeg: Range of the quality of a JPEG compression, 1 to 100; null: none.
    """

    sigma: Range | None = field(default=None, metadata={'low': 0, 'strict': True})
    isotropic_share: float = field(default=0.5, metadata={'low': 0, 'high': 1})
    motion: Range | None = field(default=None, metadata={'low': 1})
    kernel_size: int = field(default=21, metadata={'low': 3})
    downsample: Literal['bicubic', 'direct'] = 'bicubic'
    noise: dict[str, Any] | None = None
    camera: dict[str, Any] | None = None
    jpeg: Range | None = field(default=None, metadata={'low': 1, 'high': 100})


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


def degrade(clean: np.ndarray, degradation: Degradation, noise: Noise | None, scale: int, rng: np.random.Generator,
            camera: CameraNoise | None = None) -> np.ndarray:
    """Return the degraded image (H/s, W/s, 3) of `clean` (H, W, 3), float32 in [0, 1], clipped."""
    image = clean
    kernel = random_kernel(degradation, rng)
    if kernel is not None:
        # cv2 correlates: turned, it is a convolution
        image = cv2.filter2D(image, -1, np.ascontiguousarray(kernel[::-1, ::-1]), borderType=cv2.BORDER_REFLECT_101)
    if scale > 1:
        image = imresize(image, 1 / scale) if degradation.downsample == 'bicubic' else image[::scale, ::scale]
    if noise is not None:
        image = add_noise(image, noise, rng)
    if camera is not None:
        image = add_camera_noise(image, camera, rng)
    if degradation.jpeg is not None:
        low, high = (round(quality) for quality in degradation.jpeg)
        image = add_jpg_compression(np.ascontiguousarray(image), int(rng.integers(low, high + 1)))
    return np.clip(image, 0, 1).astype(np.float32)
