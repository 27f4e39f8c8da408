"""The kernel of a straight motion."""

import math

import numpy as np


def motion_kernel(size: int, length: float, angle: float) -> np.ndarray:
    """Return the kernel ``(size, size)`` of a straight, uniform motion by `length` pixels at `angle` (radians).

    Every one of many points of the path falls to its four nearest pixels; the sum is 1.
    """
    kernel = np.zeros((size + 2, size + 2))
    for t in np.linspace(-(length - 1) / 2, (length - 1) / 2, 16 * size):
        x, y = size / 2 + 0.5 + t * math.cos(angle), size / 2 + 0.5 + t * math.sin(angle)
        left, top = int(x), int(y)
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            kernel[row, column] += (1 - abs(x - column)) * (1 - abs(y - row))
    kernel = kernel[1:-1, 1:-1]
    return kernel / kernel.sum()
