"""Building blocks that the networks share; every convolution is without bias."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(in_ch: int, out_ch: int, kernel_size: int = 3) -> nn.Conv2d:
    """A convolution that keeps the size and has no bias."""
    return nn.Conv2d(in_ch, out_ch, kernel_size, padding=kernel_size // 2, bias=False)


class ImageConv(nn.Conv2d):
    """A convolution that within autocast computes an image of float32 in float32, and rounds its output alone.

    For layers that read an image: bfloat16 has 8 bits of precision, so the bright half of an image would be rounded to
    128 values.
    """

    def forward(self, input: Tensor) -> Tensor:
        device = input.device.type
        exact = input.dtype == self.weight.dtype == torch.float32
        if not (exact and torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
            return super().forward(input)
        with torch.autocast(device, enabled=False):
            return super().forward(input).to(torch.get_autocast_dtype(device))


def image_conv(in_ch: int, out_ch: int) -> nn.Conv2d:
    """A 3×3 convolution that reads an image, keeps the size and has no bias."""
    return ImageConv(in_ch, out_ch, 3, padding=1, bias=False)


class ResBlock(nn.Module):
    """Residual block ``x + conv(act(conv(x)))`` without normalisation; features ``(B, C, H, W)`` to the same shape.

    The activation is an argument of the call, so that several blocks can share a learned one.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv1 = conv(num_feat, num_feat)
        self.conv2 = conv(num_feat, num_feat)

    def forward(self, x: Tensor, activation: Callable[[Tensor], Tensor] = F.relu) -> Tensor:
        out: Tensor = x + self.conv2(activation(self.conv1(x)))
        return out


def res_blocks(num_feat: int, num_block: int) -> nn.Sequential:
    """A sequence of `num_block` residual blocks."""
    return nn.Sequential(*(ResBlock(num_feat) for _ in range(num_block)))


def check_positive(**values: int) -> None:
    """Raise ``ValueError`` naming the first argument that is not a positive integer."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f'{name} must be a positive integer, not {value!r}')
