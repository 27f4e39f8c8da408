"""The mask network (arXiv 2207.02066, section 3)."""

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from maxl_sr.archs.arch_util import ResBlock, check_positive, conv


@ARCH_REGISTRY.register()
class MaskNet(nn.Module):
    """Predicts which pixels the self-supervised loss should trust: ``(B, C, H, W)`` to ``(B, 1, H, W)`` in (0, 1).

    conv – residual blocks whose activation is one scalar PReLU shared by all – conv – sigmoid; 56,449 parameters with
    the default arguments. Any size from 1×1.

    Args:
        num_in_ch: Channels of the image.
        num_feat: Channels of the features.
        num_block: Number of residual blocks.

    Attributes:
        halo: How many pixels beyond a tile its mask depends on.

    Raises:
        ValueError: An argument is not a positive integer.

    Examples:
        >>> import torch
        >>> mask = MaskNet()(torch.rand(1, 3, 33, 47))
        >>> mask.shape, bool((mask > 0).all() and (mask < 1).all())
        (torch.Size([1, 1, 33, 47]), True)
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 32, num_block: int = 3) -> None:
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_feat=num_feat, num_block=num_block)
        self.halo = 2 * num_block + 2
        self.conv_first = conv(num_in_ch, num_feat)
        self.blocks = nn.ModuleList(ResBlock(num_feat) for _ in range(num_block))
        self.activation = nn.PReLU()
        self.conv_last = conv(num_feat, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mask of the image `x`, ``(B, 1, H, W)`` in (0, 1)."""
        feat = self.conv_first(x)
        for block in self.blocks:
            feat = block(feat, self.activation)
        return torch.sigmoid(self.conv_last(feat))
