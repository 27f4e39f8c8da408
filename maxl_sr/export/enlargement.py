"""Enlargement that every runtime computes alike."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maxl_sr.archs.multitask_arch import MultiTaskNet

TAPS = 5  # pixels that an enlarged one is of: two to either side


class Enlargement(nn.Module):
    """Bicubic enlargement by s as a convolution, equal to :func:`~maxl_sr.archs.multitask_arch.enlarge`.

    Runtimes know no resizing that leaves out what is beyond the border, or only some of them. Images ``(B, C, H, W)``
    to ``(B, C, sH, sW)``.

    Args:
        channels: C.
        scale: s.
    """

    kernel: Tensor

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.channels, self.scale = channels, scale
        centres = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale  # of the s new pixels, in the old one
        pixels = torch.arange(TAPS, dtype=torch.float64) - TAPS // 2 + 0.5
        distance = (pixels - centres[:, None]).abs()
        near = 1.5 * distance ** 3 - 2.5 * distance ** 2 + 1  # Keys' kernel, a = −1/2
        far = -0.5 * distance ** 3 + 2.5 * distance ** 2 - 4 * distance + 2
        weights = near * (distance <= 1) + far * ((distance > 1) & (distance < 2))
        kernel = torch.einsum('iy,jx->ijyx', weights, weights).reshape(scale ** 2, 1, TAPS, TAPS)
        self.register_buffer('kernel', kernel.float())

    def forward(self, x: Tensor) -> Tensor:
        sums = F.conv2d(x, self.kernel.repeat(self.channels, 1, 1, 1), padding=TAPS // 2, groups=self.channels)
        inside = F.conv2d(torch.ones_like(x[:1, :1]), self.kernel, padding=TAPS // 2)  # of the weights, per pixel
        return F.pixel_shuffle(sums, self.scale) / F.pixel_shuffle(inside, self.scale)


class Enlarging(nn.Module):
    """A multi-task network of a scale s > 1 with that enlargement: images ``(B, C, H, W)`` to ``(B, C, sH, sW)``.

    Args:
        net: The network, which is used as it is.
        channels: C.
    """

    def __init__(self, net: MultiTaskNet, channels: int) -> None:
        super().__init__()
        self.net, self.enlargement = net, Enlargement(channels, net.scale)

    def forward(self, x: Tensor) -> Tensor:
        enlarged: Tensor = self.enlargement(x) + self.net.primary_head(self.net.forward_features(x))
        return enlarged
