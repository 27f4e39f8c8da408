"""Some patches of every image, for objectives that need not see all of it."""

import math

import torch
from torch import Tensor


def patch_corners(height: int, width: int, size: int, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Return the top left corners of `count` patches, spread over the image by a jittered grid; the same for a seed.

    Args:
        height: Of the image, in pixels.
        width: Of the image.
        size: Side of a patch, at most `height` and `width`.
        count: Number of patches.
        seed: Another seed, other places.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = max(min(round(math.sqrt(count * height / width)), count), 1)
    corners = []
    for row in range(rows):
        columns = (count * (row + 1)) // rows - (count * row) // rows
        for column in range(columns):
            place = torch.rand(2, generator=generator).tolist()
            cells = ((row, rows, height), (column, columns, width))
            top, left = (round((index + at) / of * (side - size)) for at, (index, of, side) in zip(place, cells))
            corners.append((top, left))
    return corners


def patches(images: Tensor, size: int, count: int, seed: int = 0) -> Tensor:
    """Return patches ``(B, P, C, size, size)`` of `images` ``(B, C, H, W)``; the whole, P = 1, if it is no larger.

    The same places in all images of one size; `count` = 0 takes the whole image.
    """
    height, width = images.shape[-2:]
    if not count or count * size * size >= height * width or size > min(height, width):
        return images.unsqueeze(1)
    corners = patch_corners(height, width, size, count, seed)
    return torch.stack([images[..., top:top + size, left:left + size] for top, left in corners], dim=1)
