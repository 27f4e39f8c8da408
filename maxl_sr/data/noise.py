"""Synthetic noise for training without real pairs (arXiv 2207.02066, section 4.1)."""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from maxl_sr.data.motion_kernel import motion_kernel

Range = tuple[float, float]


@dataclass(frozen=True)
class Noise:
    """``noise`` of :class:`SyntheticNoiseDataset`: ranges from which every image draws; null leaves a kind out.

    Attributes:
        gaussian: σ of additive Gaussian noise, in 1/255.
        speckle: σ of multiplicative Gaussian noise ``x + x·n``, in 1/255.
        salt_pepper: Share of the pixel values that become salt (1) or pepper (0).
        salt_share: Share of salt among them.
        line: Length in pixels of a line, of a random direction, along which the Gaussian noise and the speckle are
            smeared; their σ stays. null: each pixel has its own noise.
        smooth: Standard deviation in pixels of a Gaussian by which they are smoothed; their σ stays.
        poisson: Photons at intensity 1, the mean of the counts: the fewer, the stronger the noise.
    """

    gaussian: Range | None = field(default=(5.0, 50.0), metadata={'low': 0})
    speckle: Range | None = field(default=(5.0, 50.0), metadata={'low': 0})
    salt_pepper: Range | None = field(default=(0.0, 0.01), metadata={'low': 0, 'high': 1})
    salt_share: Range = field(default=(0.3, 0.8), metadata={'low': 0, 'high': 1})
    line: Range | None = field(default=None, metadata={'low': 1})
    smooth: Range | None = field(default=None, metadata={'low': 0, 'strict': True})
    poisson: Range | None = field(default=None, metadata={'low': 0, 'strict': True})


def _normal(shape: tuple[int, ...], noise: Noise, rng: np.random.Generator) -> np.ndarray:
    normal = rng.standard_normal(shape, dtype=np.float32)
    kernels = []
    if noise.line is not None:
        length = rng.uniform(*noise.line)
        kernels.append(motion_kernel(2 * math.ceil(length / 2) + 1, length, rng.uniform(0, math.pi)))
    if noise.smooth is not None:
        sigma = rng.uniform(*noise.smooth)
        profile = cv2.getGaussianKernel(2 * math.ceil(3 * sigma) + 1, sigma)
        kernels.append(profile @ profile.T)
    for kernel in kernels:
        kernel = kernel / np.sqrt((kernel ** 2).sum())  # of white noise it keeps the σ
        normal = cv2.filter2D(normal, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return normal


def add_noise(image: np.ndarray, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    """Return `image` (H, W, C; float32 in [0, 1]) with each kind of `noise` once, in random order, clipped."""
    kinds = [kind for kind in ('gaussian', 'speckle', 'salt_pepper', 'poisson') if getattr(noise, kind) is not None]
    for kind in rng.permutation(kinds):
        strength = rng.uniform(*getattr(noise, kind))
        if kind == 'salt_pepper':
            salt_share = rng.uniform(*noise.salt_share)
            draw = rng.random(image.shape, dtype=np.float32)
            image = np.where(draw < strength, (draw < strength * salt_share).astype(np.float32), image)
        elif kind == 'poisson':
            image = (rng.poisson(np.clip(image, 0, None) * strength) / strength).astype(np.float32)
        else:
            normal = _normal(image.shape, noise, rng) * np.float32(strength / 255)
            image = image + (image * normal if kind == 'speckle' else normal)
    return np.clip(image, 0, 1)
