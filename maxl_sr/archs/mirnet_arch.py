"""MIRNet, "Learning Enriched Features for Real Image Restoration and Enhancement" (Zamir et al., 2003.06792).

The names of the sub-modules are those of the published checkpoints, which load with ``strict=True``.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn


def _conv(in_ch: int, out_ch: int, kernel_size: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(in_ch, out_ch, kernel_size, padding=kernel_size // 2, bias=bias)


class SKFF(nn.Module):
    """Selective kernel feature fusion (section 3.1): `height` features ``(B, C, H, W)`` of one shape to one of it.

    The weights of the sum are one number a channel and input; over the inputs they sum to 1.
    """

    def __init__(self, num_feat: int, height: int, bias: bool = False) -> None:
        super().__init__()
        squeezed = max(num_feat // 8, 4)
        self.conv_du = nn.Sequential(_conv(num_feat, squeezed, 1, bias), nn.PReLU())
        self.fcs = nn.ModuleList(_conv(squeezed, num_feat, 1, bias) for _ in range(height))

    def weights(self, feats: list[Tensor]) -> Tensor:
        """Return the weights ``(height, B, C, 1, 1)`` in [0, 1] of the features ``(B, C, H, W)``."""
        pooled = torch.stack([feat.mean((2, 3), keepdim=True) for feat in feats]).sum(0)
        squeezed = self.conv_du(pooled)
        return torch.stack([fc(squeezed) for fc in self.fcs]).softmax(0)

    def forward(self, feats: list[Tensor]) -> Tensor:
        weights = self.weights(feats)
        fused = feats[0] * weights[0]
        for feat, weight in zip(feats[1:], weights[1:]):
            fused = fused + feat * weight
        return fused


class ChannelAttention(nn.Module):
    """Scale every channel of ``(B, C, H, W)`` by a factor in (0, 1) computed from the channels' means."""

    def __init__(self, num_feat: int, bias: bool) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            _conv(num_feat, num_feat // 8, 1, bias), nn.ReLU(), _conv(num_feat // 8, num_feat, 1, bias), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        weighted: Tensor = x * self.conv_du(x.mean((2, 3), keepdim=True))
        return weighted


class SpatialAttention(nn.Module):
    """Scale every pixel of ``(B, C, H, W)`` by a factor in (0, 1) computed from the channels' maximum and mean."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Sequential(OrderedDict(conv=_conv(2, 1, 5, bias=False)))

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        weighted: Tensor = x * self.spatial(pooled).sigmoid()
        return weighted


class DAU(nn.Module):
    """Dual attention unit (section 3.1): features ``(B, C, H, W)`` to the same shape; `act` may be shared by many."""

    def __init__(self, num_feat: int, act: nn.Module, bias: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(num_feat, num_feat, 3, bias), act, _conv(num_feat, num_feat, 3, bias))
        self.SA = SpatialAttention()
        self.CA = ChannelAttention(num_feat, bias)
        self.conv1x1 = _conv(2 * num_feat, num_feat, 1, bias)

    def forward(self, x: Tensor) -> Tensor:
        feat = self.body(x)
        out: Tensor = x + self.conv1x1(torch.cat([self.SA(feat), self.CA(feat)], dim=1))
        return out


class BlurDown(nn.Module):
    """Anti-aliased down-sampling: binomial 3×3 blur, then every `stride`-th pixel; sizes from 2×2."""

    filt: Tensor

    def __init__(self, num_feat: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        taps = torch.tensor([1., 2., 1.]) / 4
        self.register_buffer('filt', torch.outer(taps, taps).repeat(num_feat, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode='reflect'), self.filt, stride=self.stride, groups=x.shape[1])


class ResidualResize(nn.Module):
    """Residual resizing module (section 3.1): one step between neighbouring streams, a deep plus a plain branch."""

    def __init__(self, top: nn.Sequential, bot: nn.Sequential) -> None:
        super().__init__()
        self.top = top
        self.bot = bot

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.top(x) + self.bot(x)
        return out


def _down_step(num_feat: int, stride: int) -> ResidualResize:
    """``(B, C, H, W)`` to ``(B, C * stride, H / stride, W / stride)``."""
    out = num_feat * stride
    return ResidualResize(
        nn.Sequential(_conv(num_feat, num_feat, 1, False), nn.PReLU(), _conv(num_feat, num_feat, 3, False), nn.PReLU(),
                      BlurDown(num_feat, stride), _conv(num_feat, out, 1, False)),
        nn.Sequential(BlurDown(num_feat, stride), _conv(num_feat, out, 1, False)))


def _up_step(num_feat: int, stride: int) -> ResidualResize:
    """``(B, C, H, W)`` to ``(B, C / stride, H * stride, W * stride)``; a transposed 3×3 convolution enlarges."""
    out = num_feat // stride
    enlarge = nn.ConvTranspose2d(num_feat, num_feat, 3, stride, padding=1, output_padding=stride - 1, bias=False)
    return ResidualResize(
        nn.Sequential(_conv(num_feat, num_feat, 1, False), nn.PReLU(), enlarge, nn.PReLU(),
                      _conv(num_feat, out, 1, False)),
        nn.Sequential(nn.Upsample(scale_factor=stride, mode='bilinear', align_corners=False),
                      _conv(num_feat, out, 1, False)))


def _chain(steps: list[ResidualResize]) -> nn.Sequential:
    """The steps between two streams, under the name ``body``."""
    return nn.Sequential(OrderedDict(body=nn.Sequential(*steps)))


class MSRB(nn.Module):
    """Multi-scale residual block (section 3.1): features ``(B, C, H, W)`` to the same shape.

    Stream `i` has ``C * stride**i`` channels at ``1 / stride**i`` of the size. Before every column but the first, each
    stream becomes the fusion of all streams. The sides must be multiples of ``stride**(height - 1)``.
    """

    def __init__(self, num_feat: int, height: int, width: int, stride: int, act: nn.Module, bias: bool) -> None:
        super().__init__()
        self.width = width
        self.stride = stride
        self.channels = [num_feat * stride**i for i in range(height)]
        # one unit in all columns of a stream: the published networks share its weights
        self.blocks = nn.ModuleList(nn.ModuleList([DAU(ch, act, bias)] * width) for ch in self.channels)
        self.last_up = nn.ModuleDict({str(i): self._up(i, 0) for i in range(1, height)})
        self.down = nn.ModuleDict({self._name(i, j): self._down(i, j)
                                   for i in range(height) for j in range(height - 1, i, -1)})
        self.up = nn.ModuleDict({self._name(i, j): self._up(i, j)
                                 for i in range(height - 1, 0, -1) for j in range(i)})
        self.conv_out = _conv(num_feat, num_feat, 3, bias)
        self.selective_kernel = nn.ModuleList(SKFF(ch, height, bias) for ch in self.channels)

    def _name(self, source: int, target: int) -> str:
        return f'{self.channels[source]}_{self.stride ** abs(target - source)}'

    def _down(self, source: int, target: int) -> nn.Sequential:
        return _chain([_down_step(self.channels[i], self.stride) for i in range(source, target)])

    def _up(self, source: int, target: int) -> nn.Sequential:
        return _chain([_up_step(self.channels[i], self.stride) for i in range(source, target, -1)])

    def _move(self, feat: Tensor, source: int, target: int) -> Tensor:
        """Bring the feature of stream `source` to the size and channels of stream `target`."""
        if source == target:
            return feat
        modules = self.down if source < target else self.up
        resized: Tensor = modules[self._name(source, target)](feat)
        return resized

    def _unit(self, feat: Tensor, stream: int, column: int) -> Tensor:
        out: Tensor = self.blocks.get_submodule(f'{stream}.{column}')(feat)
        return out

    def forward(self, x: Tensor) -> Tensor:
        streams = [self._unit(x, 0, 0)]
        for i in range(1, len(self.channels)):
            streams.append(self._unit(self._move(streams[-1], i - 1, i), i, 0))
        for column in range(1, self.width):
            fused = [fuse([self._move(feat, source, target) for source, feat in enumerate(streams)])
                     for target, fuse in enumerate(self.selective_kernel)]
            streams = [self._unit(feat, i, column) for i, feat in enumerate(fused)]
        # the last fusion has no weights of its own: it is that of the stream at full resolution
        full = [streams[0], *(self.last_up[str(i)](feat) for i, feat in enumerate(streams) if i)]
        out: Tensor = x + self.conv_out(self.selective_kernel[0](full))
        return out


class RRG(nn.Module):
    """Recursive residual group (section 3): MSRBs and a 3×3 convolution, plus the input ``(B, C, H, W)``."""

    def __init__(self, blocks: list[MSRB], num_feat: int, bias: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(*blocks, _conv(num_feat, num_feat, 3, bias))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def _pad_end(x: Tensor, dim: int, multiple: int) -> Tensor:
    """Extend dimension 2 or 3 of `x` at its end to a multiple: by reflection, or by replication where too short."""
    size = x.shape[dim]
    pad = -size % multiple
    if pad == 0:
        return x
    return F.pad(x, (0, pad, 0, 0) if dim == 3 else (0, 0, 0, pad), mode='reflect' if pad < size else 'replicate')


@ARCH_REGISTRY.register()
class MIRNet(nn.Module):
    """MIRNet (arXiv 2003.06792): the input plus a residual, by groups of multi-scale residual blocks.

    31,787,419 parameters with the default arguments. Images ``(B, C, H, W)`` in [0, 1], any size from 1×1: sides that
    are no multiples of ``stride**(height - 1)`` are extended for the computation.

    Args:
        num_in_ch: Channels of the input.
        num_out_ch: Channels of the output; must equal `num_in_ch`.
        num_feat: Channels of the features at full resolution; at least 8.
        kernel_size: Side of the kernels of the first and the last convolution; odd.
        stride: Ratio of size, and of channels the other way round, between neighbouring streams; at least 2.
        num_rrg: Recursive residual groups.
        num_msrb: Multi-scale residual blocks of every group.
        height: Streams of every block; at least 2.
        width: Columns of dual attention units of every block; at least 2. The columns share their weights.
        bias: Whether the convolutions outside of the resizing and the spatial attention have a bias.

    Raises:
        ValueError: An argument is outside of its range.

    Examples:
        >>> import torch
        >>> net = MIRNet(num_feat=8, num_rrg=1, num_msrb=1)
        >>> net(torch.rand(1, 3, 16, 16)).shape
        torch.Size([1, 3, 16, 16])
    """

    def __init__(self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, kernel_size: int = 3,
                 stride: int = 2, num_rrg: int = 3, num_msrb: int = 2, height: int = 3, width: int = 2,
                 bias: bool = False) -> None:
        super().__init__()
        # below 8 features the channel attention has no hidden channel; one stream or column has nothing to exchange
        for name, value, least in (('num_in_ch', num_in_ch, 1), ('num_out_ch', num_out_ch, 1),
                                   ('num_feat', num_feat, 8),
                                   ('kernel_size', kernel_size, 1), ('stride', stride, 2), ('num_rrg', num_rrg, 1),
                                   ('num_msrb', num_msrb, 1), ('height', height, 2), ('width', width, 2)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f'{name} must be an integer of at least {least}, not {value!r}')
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, not {kernel_size}')
        if num_in_ch != num_out_ch:
            raise ValueError(f'num_in_ch ({num_in_ch}) and num_out_ch ({num_out_ch}) must be equal: '
                             'the network adds a residual to the input')
        if bias not in (True, False):
            raise ValueError(f'bias must be true or false, not {bias!r}')
        self.multiple = stride**(height - 1)
        act = nn.PReLU()  # one slope for all dual attention units of the network, as in the published networks
        self.conv_in = _conv(num_in_ch, num_feat, kernel_size, bias)
        self.body = nn.Sequential(*(
            RRG([MSRB(num_feat, height, width, stride, act, bias) for _ in range(num_msrb)], num_feat, bias)
            for _ in range(num_rrg)))
        self.conv_out = _conv(num_feat, num_out_ch, kernel_size, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the restored image ``(B, C, H, W)`` of the image `x` in [0, 1]; the output is not clamped."""
        height, width = x.shape[-2:]
        padded = _pad_end(_pad_end(x, 2, self.multiple), 3, self.multiple)
        restored: Tensor = (padded + self.conv_out(self.body(self.conv_in(padded))))[..., :height, :width]
        return restored
