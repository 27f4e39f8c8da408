"""Synthetic noise for training without real pairs (arXiv 2207.02066, section 4.1), and kinds that photographs have."""

import math
from typing import Literal

import cv2
import numpy as np

from maxl_sr.data.motion_kernel import motion_kernel
from maxl_sr.settings.section import Section
from maxl_sr.settings.types import AtLeast1, NotNegative, Pair, Positive, Share

Range = tuple[float, float]

KINDS = ('gaussian', 'speckle', 'salt_pepper', 'poisson', 'grain', 'rows', 'columns', 'banding', 'periodic')
LEAST_SMOOTH = 0.2  # pixels; less changes nothing


class Noise(Section):
    """``noise`` of :class:`SyntheticNoiseDataset`: ranges from which every image draws; null leaves a kind out.

    Attributes:
        gaussian: σ of additive Gaussian noise, in 1/255.
        speckle: σ of multiplicative Gaussian noise ``x + x·n``, in 1/255.
        salt_pepper: Share of the pixel values that become salt (1) or pepper (0).
        salt_share: Share of salt among them.
        line: Length in pixels of a line, of a random direction, along which Gaussian noise and speckle are smeared;
            their σ stays. null: each pixel has its own noise.
        smooth: Standard deviation in pixels of a Gaussian by which they are smoothed; their σ stays.
        poisson: Photons at intensity 1, the mean of the counts: the fewer, the stronger the noise. The draw is
            logarithmically uniform where `channels` is not 'independent'.
        channels: How Gaussian noise, speckle, grain and photon noise of the three channels go together: 'independent';
            'grey', the same in all three; 'any', with a random correlation; 'mixed', one of these at random. Salt and
            pepper follow 'grey'.
        enlarge: Factor by which Gaussian noise and speckle are enlarged, as those of an image that was; their σ stays.
        grain: σ of film grain at middle grey, in 1/255: alike in the channels, smoothed by 0.5 to 1.2 pixels, weaker in
            blacks and whites.
        rows: σ of an offset of every row, in 1/255.
        columns: σ of an offset of every column, in 1/255.
        banding: σ of offsets that change slowly from row to row, in 1/255.
        periodic: Amplitude of a sine pattern of random direction and a period of 2 to 16 pixels, in 1/255.
        kinds: How many of the kinds an image gets, drawn among those that are given; null: all.
    """

    gaussian: Pair[NotNegative] | None = (5.0, 50.0)
    speckle: Pair[NotNegative] | None = (5.0, 50.0)
    salt_pepper: Pair[Share] | None = (0.0, 0.01)
    salt_share: Pair[Share] = (0.3, 0.8)
    line: Pair[AtLeast1] | None = None
    smooth: Pair[NotNegative] | None = None
    poisson: Pair[Positive] | None = None
    channels: Literal['independent', 'grey', 'any', 'mixed'] = 'independent'
    enlarge: Pair[AtLeast1] | None = None
    grain: Pair[NotNegative] | None = None
    rows: Pair[NotNegative] | None = None
    columns: Pair[NotNegative] | None = None
    banding: Pair[NotNegative] | None = None
    periodic: Pair[NotNegative] | None = None
    kinds: Pair[AtLeast1] | None = None


def _smoothed(normal: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """White noise correlated by `kernel`; it keeps its σ."""
    return cv2.filter2D(normal, -1, kernel / np.sqrt((kernel ** 2).sum()), borderType=cv2.BORDER_REFLECT_101)


def _gaussian_kernel(sigma: float) -> np.ndarray:
    profile = cv2.getGaussianKernel(2 * math.ceil(3 * sigma) + 1, sigma)
    return profile @ profile.T


def _normal(shape: tuple[int, ...], noise: Noise, channels: str, rng: np.random.Generator) -> np.ndarray:
    """Normal noise with the correlations of `noise`, of σ 1 in every pixel and channel."""
    factor = 1.0 if noise.enlarge is None else rng.uniform(*noise.enlarge)
    small = tuple(math.ceil(side / factor) for side in shape[:2])
    normal = rng.standard_normal((*small, *shape[2:]), dtype=np.float32)
    if channels == 'grey':
        normal = np.repeat(normal[..., :1], shape[2], 2)
    elif channels == 'any':
        mixing = rng.standard_normal((shape[2], shape[2]))
        normal = normal @ (mixing / np.linalg.norm(mixing, axis=0)).astype(np.float32)
    if noise.line is not None:
        length = rng.uniform(*noise.line)
        normal = _smoothed(normal, motion_kernel(2 * math.ceil(length / 2) + 1, length, rng.uniform(0, math.pi)))
    if noise.smooth is not None:
        sigma = rng.uniform(*noise.smooth)
        if sigma >= LEAST_SMOOTH:
            normal = _smoothed(normal, _gaussian_kernel(sigma))
    if factor > 1:
        normal = cv2.resize(normal, shape[1::-1], interpolation=cv2.INTER_CUBIC)
        normal /= normal.std() or 1
    return normal


def _stripes(shape: tuple[int, ...], kind: str, channels: str, rng: np.random.Generator) -> np.ndarray:
    """Offsets of rows or columns, or a pattern, of σ (of a pattern: amplitude) 1."""
    height, width, depth = shape
    if kind == 'periodic':
        angle, period, phase = rng.uniform(0, math.pi), rng.uniform(2, 16), rng.uniform(0, 2 * math.pi)
        rows, columns = np.mgrid[:height, :width]
        wave = np.sin(2 * math.pi / period * (columns * math.cos(angle) + rows * math.sin(angle)) + phase)
        return np.repeat(wave[..., None].astype(np.float32), depth, 2)
    length = width if kind == 'columns' else height
    offsets = rng.standard_normal((length, 1, 1 if channels == 'grey' else depth), dtype=np.float32)
    if kind == 'banding':
        scale = rng.uniform(4, 16)
        profile = cv2.getGaussianKernel(2 * math.ceil(3 * scale) + 1, scale)
        offsets = _smoothed(offsets.reshape(length, -1), profile).reshape(offsets.shape)
    return offsets.swapaxes(0, 1) if kind == 'columns' else offsets


def _add(image: np.ndarray, kind: str, noise: Noise, channels: str, rng: np.random.Generator) -> np.ndarray:
    limits = getattr(noise, kind)
    if kind == 'poisson' and channels != 'independent':
        photons = math.exp(rng.uniform(*np.log(limits)))
        deviation = np.sqrt(np.clip(image, 0, None) / photons)
        return image + deviation * _normal(image.shape, noise, channels, rng)
    strength = rng.uniform(*limits)
    if kind == 'salt_pepper':
        salt_share = rng.uniform(*noise.salt_share)
        draw = rng.random((*image.shape[:2], 1) if channels == 'grey' else image.shape, dtype=np.float32)
        return np.where(draw < strength, (draw < strength * salt_share).astype(np.float32), image)
    if kind == 'poisson':
        return (rng.poisson(np.clip(image, 0, None) * strength) / strength).astype(np.float32)
    if kind == 'grain':
        normal = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
        normal = _smoothed(normal, _gaussian_kernel(rng.uniform(0.5, 1.2)))[..., None]
        return image + np.float32(strength / 255) * 2 * np.sqrt(np.clip(image * (1 - image), 0, None)) * normal
    if kind in ('gaussian', 'speckle'):
        normal = _normal(image.shape, noise, channels, rng) * np.float32(strength / 255)
        return image + (image * normal if kind == 'speckle' else normal)
    return image + _stripes(image.shape, kind, channels, rng) * np.float32(strength / 255)


def add_noise(image: np.ndarray, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    """Return `image` (H, W, C; float32 in [0, 1]) with each kind of `noise` once, in random order, clipped.

    Examples:
        >>> noise = Noise(gaussian=(25, 25), speckle=None, salt_pepper=None, channels='grey')
        >>> noisy = add_noise(np.full((32, 32, 3), 0.5, np.float32), noise, np.random.default_rng(0))
        >>> bool((noisy[..., 0] == noisy[..., 1]).all())
        True
    """
    kinds = [kind for kind in KINDS if getattr(noise, kind) is not None]
    channels = noise.channels
    if channels == 'mixed':
        channels = ('independent', 'grey', 'any')[rng.integers(3)]
    order = rng.permutation(kinds)
    if noise.kinds is not None:
        low, high = (round(limit) for limit in noise.kinds)
        order = order[:rng.integers(low, high + 1)]
    for kind in order:
        image = _add(image, kind, noise, channels, rng).astype(np.float32)
    return np.clip(image, 0, 1)
