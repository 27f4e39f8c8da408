"""Flat blocks of an image, block by block: what :mod:`maxl_sr.losses.left_noise` is compared with."""

import numpy as np
import torch
from torch import Tensor


def corners(shape: torch.Size, size: int) -> list[tuple[int, int]]:
    """Upper left corners of the whole blocks of an image, row by row."""
    height, width = shape[-2:]
    return [(i, j) for i in range(0, height - size + 1, size) for j in range(0, width - size + 1, size)]


def naive_detail(block: Tensor) -> Tensor:
    """A block ``(C, size, size)`` without the quadratic function that fits it best, by least squares."""
    size = block.shape[-1]
    row, column = np.mgrid[:size, :size].reshape(2, -1) - (size - 1) / 2
    functions = np.stack([np.ones_like(row), row, column, row ** 2, column ** 2, row * column], 1)
    fit = torch.from_numpy(functions @ np.linalg.pinv(functions))
    return (block.flatten(1) - block.flatten(1) @ fit.T).view_as(block)


def naive_flat(y: Tensor, restored: Tensor, size: int, least: int) -> tuple[list[bool], float]:
    """Which blocks of one image ``(C, H, W)`` are flat, and the share of the noise that is left in the flattest."""
    shares = []
    for i, j in corners(y.shape, size):
        block = y[:, i:i + size, j:j + size]
        energy, left = ((naive_detail(image[:, i:i + size, j:j + size]) ** 2).mean().item()
                        for image in (y, restored.clamp(0, 1)))
        clipped = ((block <= 0) | (block >= 1)).double().mean().item() > 0.2
        shares.append(left / (energy + 1e-7) + 10 * clipped)
    lowest = float(np.quantile(shares, 0.02))
    last = sorted(shares)[min(least, len(shares)) - 1]
    return [share <= max(lowest + 0.05, last) for share in shares], lowest
