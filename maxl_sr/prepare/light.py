"""The light of a ground truth made that of the noisy image.

Lamps flicker and clouds pass between two shots. The difference is smooth. No denoiser can know it, and a network that
is trained on it learns to shift colours.
"""

import cv2
import numpy as np

BLOCK = 8  # pixels: blocks of JPEG, whose means are looked at
SCALE = 128.0  # pixels; standard deviation of the Gaussian that is left of the difference: noise cannot reach it
DARK, BRIGHT = 20, 235  # of 255: beyond, noise is clipped, and its mean is not that of the light
MOVED = 15.0  # of 255: a block that differs more shows something else
PRIOR = 0.05  # weight of no difference


def match_light(clean: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """Return `clean` with the smooth difference to `noisy` added, both ``(H, W, 3)`` in 0 to 255; floating point.

    The difference is a mean over a Gaussian window of 128 pixels in every channel, of all pixels in which noise is not
    clipped; a window with few of them counts less.
    """
    height, width = clean.shape[:2]
    size = (max(width // BLOCK, 1), max(height // BLOCK, 1))
    small = [cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA) for image in (clean, noisy)]
    difference = small[1] - small[0]
    valid = ((small[0] > DARK) & (small[0] < BRIGHT) & (np.abs(difference) < MOVED)).all(-1, keepdims=True)
    weight = valid.astype(np.float32)

    def smooth(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), SCALE / BLOCK, borderType=cv2.BORDER_REFLECT)

    field = smooth(difference * weight) / (smooth(weight)[..., None] + PRIOR)
    return clean + cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
