"""The light of a ground truth made that of the noisy image.

Lamps flicker and clouds pass between two shots. The difference is smooth. No denoiser can know it, and a network that
is trained on it learns to shift colours.
"""

import cv2
import numpy as np

BLOCK = 8  # pixels: blocks of JPEG, whose means are looked at
SCALE = 128.0  # pixels; standard deviation of the Gaussian that is left of the difference: noise cannot reach it
DARK, BRIGHT = 20, 235  # of 255: beyond, noise is clipped, and its mean is not that of the light
MOVED = 15.0  # of 255: a block that differs so much more than the others shows something else
PRIOR = 0.05  # weight of the difference of the whole image


def match_light(clean: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """Return `clean` with the smooth difference to `noisy` added, both ``(H, W, 3)`` in 0 to 255; floating point.

    The difference of every channel is a mean over a Gaussian window of 128 pixels, of the blocks whose noise is not
    clipped and that show the same thing in both images. Where there are few, it is that of the whole image.

    Examples:
        >>> clean = np.full((64, 64, 3), 100.)
        >>> float(match_light(clean, clean + 4).mean().round(2))
        104.0
    """
    height, width = clean.shape[:2]
    size = (max(width // BLOCK, 1), max(height // BLOCK, 1))
    small = [cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA) for image in (clean, noisy)]
    difference = small[1] - small[0]
    unclipped = ((small[0] > DARK) & (small[0] < BRIGHT)).all(-1)
    if not unclipped.any():
        return clean.astype(np.float32)
    middle = np.median(difference[unclipped], axis=0)
    difference -= middle
    weight = (unclipped & (np.abs(difference) < MOVED).all(-1)).astype(np.float32)

    def smooth(values: np.ndarray) -> np.ndarray:
        blurred: np.ndarray = cv2.GaussianBlur(values, (0, 0), SCALE / BLOCK, borderType=cv2.BORDER_REFLECT)
        return blurred

    field = middle + smooth(difference * weight[..., None]) / (smooth(weight)[..., None] + PRIOR)
    matched: np.ndarray = clean + cv2.resize(field.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return matched
