"""Blur kernels of images: estimated from a sharp and a degraded one, widened, applied.

A kernel k acts as ``y(p) = Σ_t k(t) x(s·p + t)``: a correlation, as everywhere in torch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_PIXELS = 2 ** 15  # of the degraded image that an estimate looks at


def _normalized(kernel: Tensor, least: float) -> Tensor:
    """Return the kernels ``(B, K, K)`` with the sum 1; the identity in place of one whose sum is not above `least`."""
    total = kernel.sum(dim=(1, 2), keepdim=True)
    identity = torch.zeros_like(kernel)
    identity[:, kernel.shape[1] // 2, kernel.shape[2] // 2] = 1
    return torch.where(total > least, kernel / total, identity)


def estimate_kernel(sharp: Tensor, degraded: Tensor, size: int, ridge: float) -> Tensor:
    """Return the kernels ``(B, size, size)`` that make `degraded` of `sharp`, by regularised least squares.

    ``min_k Σ_p (Σ_t k(t) x(s·p + t) − y(p))² + λ‖k‖²`` on the means of the channels, in float64, then divided by its
    sum; λ is `ridge` times the mean of the diagonal of the normal equations. Of large images every m-th pixel in each
    direction is looked at. Images that no kernel explains (black ones, or a sum below 1/2) give the identity.

    Args:
        sharp: ``(B, C, sH, sW)``.
        degraded: ``(B, C, H, W)``; its pixel p lies at s·p of the sharp image, whatever the kernel's offset.
        size: Side of the kernels, odd.
        ridge: Strength of the regularisation.
    """
    scale = sharp.shape[-1] // degraded.shape[-1]
    step = 1
    while degraded[..., ::step, ::step].shape[-2:].numel() > MAX_PIXELS:
        step += 1
    x, y = (image.mean(dim=1, keepdim=True).double() for image in (sharp, degraded))
    patches = F.unfold(F.pad(x, 4 * (size // 2, ), mode='replicate'), size, stride=scale * step)
    normal = patches @ patches.transpose(1, 2)
    weight = ridge * normal.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] + 1e-12  # black images, too
    right = patches @ y[..., ::step, ::step].flatten(2).transpose(1, 2)
    factor = torch.linalg.cholesky_ex(normal + weight * torch.eye(size ** 2, dtype=x.dtype, device=x.device))[0]
    return _normalized(torch.cholesky_solve(right, factor).view(-1, size, size), least=0.5).to(sharp.dtype)


def widen_kernel(kernel: Tensor, ratio: float) -> Tensor:
    """Return the kernels ``(B, K, K)``, of sum 1, widened by `ratio` about their centres of mass, bilinearly.

    That is the blur of an image in the pixels of another one that is `ratio` times as large. The centre of mass stays
    where it is: an offset belongs to the grid of the degraded image.
    """
    size = kernel.shape[-1]
    half = int(ratio * (size // 2))

    def positions(count: int) -> Tensor:
        return torch.arange(-count, count + 1, dtype=kernel.dtype, device=kernel.device)

    def source(axis: int) -> Tensor:  # where the values along this axis come from, -1 … 1 over the kernel
        centre = (kernel.sum(dim=axis) * positions(size // 2)).sum(dim=1, keepdim=True)
        centre = centre.clamp(-(size // 2), size // 2)  # of a kernel with negative values it may lie anywhere
        return ((positions(half) - centre) / ratio + centre) / (size // 2)

    rows, columns = source(2), source(1)
    grid = torch.stack([columns[:, None, :].expand(-1, 2 * half + 1, -1),
                        rows[:, :, None].expand(-1, -1, 2 * half + 1)], dim=-1)
    wide = F.grid_sample(kernel[:, None], grid, mode='bilinear', padding_mode='zeros', align_corners=True)[:, 0]
    return _normalized(wide, least=0.5 * ratio ** 2)


def blur(image: Tensor, kernel: Tensor, scale: int = 1) -> Tensor:
    """Return ``y(p) = Σ_t k(t) x(s·p + t)``: images ``(B, C, sH, sW)`` by kernels ``(B, K, K)`` to ``(B, C, H, W)``."""
    batch, channels, height, width = image.shape
    size = kernel.shape[-1]
    padded = F.pad(image, 4 * (size // 2, ), mode='replicate').reshape(1, batch * channels, *(
        side + 2 * (size // 2) for side in (height, width)))
    weight = kernel.repeat_interleave(channels, dim=0).unsqueeze(1)
    with torch.autocast(image.device.type, enabled=False):
        blurred = F.conv2d(padded, weight, stride=scale, groups=batch * channels)
    return blurred.view(batch, channels, *blurred.shape[-2:])
