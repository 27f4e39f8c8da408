"""Noise as a camera makes it: of photons and electronics in the mosaic of the sensor, developed to sRGB."""

import cv2
import numpy as np

from maxl_sr.settings.section import Section
from maxl_sr.settings.types import NotNegative, Pair, Positive

GAMMA = 2.2
DEMOSAICING = (cv2.COLOR_BayerRGGB2BGR, cv2.COLOR_BayerRGGB2BGR_EA)  # bilinear, edge-aware
BORDER = 4  # pixels that demosaicing and smoothing may spoil
LEVELS = 2 ** 16 - 1


class CameraNoise(Section):
    """``degradation: camera``: noise as a camera makes it; ranges from which every image draws.

    The clean image is taken back to the raw values of a sensor (gamma, colour matrix, white balance, Bayer mosaic),
    gets noise of variance ``shot · x + read²`` there and is developed again: its noise depends on the intensity, is
    correlated between pixels and colours, and is stronger in red and blue (after arXiv 1811.11127). Only what the noise
    changes is added to the clean image, which so keeps its sharpness and colours.

    Attributes:
        shot: Variance of the photon noise per unit of intensity, logarithmically uniform.
        read: Standard deviation of the electronic noise as a part of that of the photon noise at full intensity,
            logarithmically uniform.
        blur: Standard deviation of the Gaussian that smooths the noise, as a camera's own noise reduction does, in
            pixels.
    """

    shot: Pair[Positive] = (2e-4, 1e-2)
    read: Pair[Positive] = (0.02, 0.3)
    blur: Pair[NotNegative] = (0.0, 0.7)


def add_camera_noise(image: np.ndarray, noise: CameraNoise, rng: np.random.Generator) -> np.ndarray:
    """Return `image` (H, W, 3; BGR, float32 in [0, 1]) with the noise of a random camera, clipped.

    Examples:
        >>> image = np.full((32, 32, 3), 0.5, np.float32)
        >>> add_camera_noise(image, CameraNoise(), np.random.default_rng(0)).shape
        (32, 32, 3)
    """
    height, width = image.shape[:2]
    shot, read = (np.exp(rng.uniform(*np.log(limits))) for limits in (noise.shot, noise.read))
    mixing = rng.uniform(0, 0.45, (3, 3)) * (1 - np.eye(3))
    to_srgb = np.eye(3) + np.diag(mixing.sum(1)) - mixing  # from the camera's colours; grey stays grey
    gains = np.array([rng.uniform(1.4, 1.9), 1, rng.uniform(1.6, 2.4)])  # white balance: blue, green, red
    demosaicing = DEMOSAICING[rng.integers(len(DEMOSAICING))]

    padded = cv2.copyMakeBorder(image, BORDER, BORDER + height % 2, BORDER, BORDER + width % 2, cv2.BORDER_REFLECT_101)
    raw = (padded ** GAMMA @ np.linalg.inv(to_srgb).T / gains).clip(0, 1)
    mosaic = raw[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = raw[::2, ::2, 2], raw[1::2, 1::2, 0]
    deviation = np.sqrt(shot * mosaic + (read ** 2 * shot))
    noisy = mosaic + deviation * rng.standard_normal(mosaic.shape)

    def develop(values: np.ndarray) -> np.ndarray:
        # An offset for the values below black, which would otherwise brighten the shadows
        coded = np.round((values.clip(-1, 1) + 1) / 2 * LEVELS).astype(np.uint16)
        colours = cv2.demosaicing(coded, demosaicing).astype(np.float64) / LEVELS * 2 - 1
        return ((colours * gains) @ to_srgb.T).clip(0, 1) ** (1 / GAMMA)

    difference = develop(noisy) - develop(mosaic)
    sigma = rng.uniform(*noise.blur)
    if sigma > 0:
        difference = cv2.GaussianBlur(difference, (0, 0), sigma)
    difference = difference[BORDER:BORDER + height, BORDER:BORDER + width]
    return np.clip(image + difference, 0, 1).astype(np.float32)
