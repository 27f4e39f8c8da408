"""The multi-task networks (arXiv 2207.02066, section 3 and Figure 4)."""

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from maxl_sr.archs.arch_util import check_positive, conv, image_conv, res_blocks

SCALES = (1, 2, 3, 4)


class UNetBody(nn.Module):
    """U-Net from an image ``(B, C, H, W)`` to features ``(B, num_feat, H, W)``; any size from 1×1.

    Level `i` has ``num_feat + i * feat_step`` channels. Down: bilinear to half the size (at least 1), then 1×1. Up:
    bilinear to the size of the skip, 1×1, then the encoder's feature is added.
    """

    def __init__(self, num_in_ch: int, num_feat: int, feat_step: int, num_block: int, num_level: int) -> None:
        super().__init__()
        widths = [num_feat + level * feat_step for level in range(num_level)]
        self.conv_first = image_conv(num_in_ch, num_feat)
        self.encoders = nn.ModuleList(res_blocks(width, num_block) for width in widths)
        self.downs = nn.ModuleList(conv(a, b, 1) for a, b in zip(widths, widths[1:]))
        self.ups = nn.ModuleList(conv(b, a, 1) for a, b in zip(widths, widths[1:]))
        self.decoders = nn.ModuleList(res_blocks(width, num_block) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        encoders, decoders = list(self.encoders), list(self.decoders)
        feat: Tensor = encoders[0](self.conv_first(x))
        skips = [feat]
        for down, encoder in zip(self.downs, encoders[1:]):
            half = [max(size // 2, 1) for size in feat.shape[-2:]]
            feat = encoder(down(F.interpolate(feat, size=half, mode='bilinear', align_corners=False)))
            skips.append(feat)
        feat = decoders[-1](feat)
        for up, decoder, skip in zip(reversed(self.ups), reversed(decoders[:-1]), reversed(skips[:-1])):
            feat = F.interpolate(feat, size=skip.shape[-2:], mode='bilinear', align_corners=False)
            feat = decoder(up(feat) + skip)
        return feat


class Head(nn.Sequential):
    """`num_block` residual blocks and a last convolution, ``(B, num_feat, H, W)`` to ``(B, num_out_ch, sH, sW)``.

    With a scale s > 1 the last convolution gives s² values a pixel and channel, which become s×s pixels.
    """

    def __init__(self, num_feat: int, num_out_ch: int, num_block: int, scale: int = 1) -> None:
        shuffle = [nn.PixelShuffle(scale)] if scale > 1 else []
        super().__init__(*res_blocks(num_feat, num_block), conv(num_feat, num_out_ch * scale ** 2), *shuffle)


def enlarge(x: Tensor, scale: int) -> Tensor:
    """Return the images ``(B, C, H, W)`` enlarged to ``(B, C, sH, sW)`` by Keys' bicubic kernel (a = −1/2)."""
    if scale == 1:
        return x
    # antialias changes nothing but the kernel when an image grows: without it torch takes a = −3/4
    return F.interpolate(x, scale_factor=scale, mode='bicubic', align_corners=False, antialias=True)


def unshuffle(x: Tensor, scale: int) -> Tensor:
    """Return the s×s pixels of ``(B, C, sH, sW)`` as channels, ``(B, C·s², H, W)``."""
    return x if scale == 1 else F.pixel_unshuffle(x, scale)


def cascaded_head(num_in_ch: int, num_out_ch: int, num_feat: int, num_block: int, scale: int) -> nn.Sequential:
    """Return the auxiliary head that reads the restored image and the residual, and reconstructs the input."""
    return nn.Sequential(image_conv(2 * num_out_ch * scale ** 2, num_feat), *Head(num_feat, num_in_ch, num_block))


@ARCH_REGISTRY.register()
class MultiTaskNet(nn.Module):
    """A U-Net, a primary head that restores the image, and an auxiliary head that reconstructs the input from that.

    ``x̂ = y + r`` from the primary head, and ``ŷ`` from ``cat(x̂, r)`` by the auxiliary head. 603,360 parameters with
    the default arguments (body 544,608, primary head 37,728, auxiliary head 21,024). ``net(x)`` is the restored image
    only, so that the network stands in for any other restorer. Images ``(B, C, H, W)`` in [0, 1], any size from 1×1.

    For super-resolution by s the restored image is ``(B, C, sH, sW)``: the residual is added to the bicubic enlargement
    of y, and the auxiliary head, which reconstructs y itself, reads the s×s pixels of x̂ and r as channels.

    Args:
        num_in_ch: Channels of the input.
        num_out_ch: Channels of the output; must equal `num_in_ch`.
        num_feat: Channels of the features at full resolution.
        feat_step: Channels that every level of the U-Net adds.
        num_block: Residual blocks of every level in the encoder, and again in the decoder.
        scale: Enlargement s: 1, 2, 3 or 4.
        num_level: Levels of the U-Net.
        num_primary_block: Residual blocks of the primary head.
        num_aux_block: Residual blocks of the auxiliary head.

    Attributes:
        multiple: What the sides of an image are halved down by; images whose sides are multiples of it can be computed
            in tiles that begin at multiples of it.
        halo: How many pixels beyond a tile its outputs depend on, rounded up to a multiple of that.

    Raises:
        ValueError: An argument is outside of its range.

    Examples:
        >>> net, y = MultiTaskNet(), torch.rand(1, 3, 33, 47)
        >>> sum(weight.numel() for weight in net.parameters())
        603360
        >>> restored, reconstruction = net.forward_heads(net.forward_features(y), y)
        >>> restored.shape
        torch.Size([1, 3, 33, 47])
        >>> bool((net(y) == restored).all())
        True
    """

    def __init__(self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 32, feat_step: int = 16,
                 num_block: int = 2, scale: int = 1, num_level: int = 3, num_primary_block: int = 2,
                 num_aux_block: int = 1) -> None:
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_out_ch=num_out_ch, num_feat=num_feat, num_block=num_block,
                       num_level=num_level, num_primary_block=num_primary_block, num_aux_block=num_aux_block)
        if not isinstance(feat_step, int) or feat_step < 0:
            raise ValueError(f'feat_step must be a non-negative integer, not {feat_step!r}')
        if num_in_ch != num_out_ch:
            raise ValueError(f'num_in_ch ({num_in_ch}) and num_out_ch ({num_out_ch}) must be equal: '
                             'the primary head adds a residual to the input')
        if type(scale) is not int or scale not in SCALES:
            raise ValueError(f'scale must be one of {", ".join(map(str, SCALES))}, not {scale!r}')
        self.scale = scale
        self.multiple = 2 ** (num_level - 1)
        self.halo = self._reach(num_block, num_level, num_primary_block + num_aux_block)
        self.body = UNetBody(num_in_ch, num_feat, feat_step, num_block, num_level)
        self.primary_head = Head(num_feat, num_out_ch, num_primary_block, scale)
        self.aux_head = self._make_aux_head(num_in_ch, num_out_ch, num_feat, num_aux_block)

    def _reach(self, num_block: int, num_level: int, num_head_block: int) -> int:
        convolutions = 1 + 2 + 1 + 2 * num_head_block  # outside of the levels; both heads, one after the other
        levels = sum(4 * num_block * 2 ** level for level in range(num_level))
        resized = sum(3 * 2 ** level for level in range(num_level - 1))  # a pixel down, two up
        reach: int = -(-(convolutions + levels + resized) // self.multiple) * self.multiple
        return reach

    def _make_aux_head(self, num_in_ch: int, num_out_ch: int, num_feat: int, num_block: int) -> nn.Module:
        return cascaded_head(num_in_ch, num_out_ch, num_feat, num_block, self.scale)

    def _reconstruct(self, features: Tensor, restored: Tensor, residual: Tensor) -> Tensor:
        reconstruction: Tensor = self.aux_head(unshuffle(torch.cat([restored, residual], dim=1), self.scale))
        return reconstruction

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the body's features ``(B, num_feat, H, W)`` of the image `x` ``(B, C, H, W)`` in [0, 1]."""
        features: Tensor = self.body(x)
        return features

    def forward_primary(self, features: Tensor, x: Tensor) -> Tensor:
        """Return the restored image ``(B, C, sH, sW)`` from features and image, without the auxiliary head."""
        restored: Tensor = enlarge(x, self.scale) + self.primary_head(features)
        return restored

    def forward_heads(self, features: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (restored image ``(B, C, sH, sW)``, reconstruction of `x`) from features and the image `x`."""
        residual = self.primary_head(features)
        restored = enlarge(x, self.scale) + residual
        return restored, self._reconstruct(features, restored, residual)

    def forward(self, x: Tensor) -> Tensor:
        """Return the restored image only, ``(B, C, sH, sW)``, of the image `x` in [0, 1]; the output is not clamped."""
        return self.forward_primary(self.forward_features(x), x)


@ARCH_REGISTRY.register()
class ParallelMultiTaskNet(MultiTaskNet):
    """``MultiTaskNet`` with both heads side by side (the paper's baseline, Figure 4, after Chi et al. 2021).

    Arguments, shapes and errors are those of :class:`MultiTaskNet`. The auxiliary head is built like the primary one,
    unless `num_aux_block` says otherwise, and predicts the input image itself. 620,064 parameters with the default
    arguments.

    Examples:
        >>> ParallelMultiTaskNet()(torch.rand(1, 3, 33, 47)).shape
        torch.Size([1, 3, 33, 47])
    """

    def __init__(self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 32, feat_step: int = 16,
                 num_block: int = 2, scale: int = 1, num_level: int = 3, num_primary_block: int = 2,
                 num_aux_block: int | None = None) -> None:
        super().__init__(num_in_ch, num_out_ch, num_feat, feat_step, num_block, scale, num_level, num_primary_block,
                         num_primary_block if num_aux_block is None else num_aux_block)

    def _make_aux_head(self, num_in_ch: int, num_out_ch: int, num_feat: int, num_block: int) -> nn.Module:
        return Head(num_feat, num_in_ch, num_block)

    def _reconstruct(self, features: Tensor, restored: Tensor, residual: Tensor) -> Tensor:
        reconstruction: Tensor = self.aux_head(features)
        return reconstruction
