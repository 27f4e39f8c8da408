"""The mask networks: of the image alone (arXiv 2207.02066, section 3), or of what the network makes of it, too."""

from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from maxl_sr.archs.arch_util import ResBlock, check_positive, conv, image_conv
from maxl_sr.archs.multitask_arch import enlarge, unshuffle


def reads_network(mask_net: nn.Module) -> bool:
    """Whether a mask network reads the features and the residual of the network that is adapted."""
    return bool(getattr(mask_net, 'reads_network', False))


def mask_inputs(mask_net: nn.Module, net: Any, y: Tensor) -> tuple[Tensor, ...]:
    """Return what a mask network reads: the images, and with `reads_network` features and residual of `net`, too."""
    if not reads_network(mask_net):
        return (y, )
    with torch.no_grad():
        features = net.forward_features(y)
        restored = net.forward_primary(features, y)
        scale = restored.shape[-1] // y.shape[-1]
        return y, features, unshuffle(restored - enlarge(y, scale), scale)


def mask_of(mask_net: nn.Module, net: Any, y: Tensor) -> Tensor:
    """Return the mask ``(B, 1, H, W)`` of the images `y` ``(B, C, H, W)``.

    A mask network whose attribute `reads_network` is true gets the features of `net` and its residual, too, as
    constants: no gradient passes into `net`.

    Examples:
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> net, y = MultiTaskNet(), torch.rand(2, 3, 33, 47)
        >>> mask_of(MaskNet(), net, y).shape, mask_of(FeatureMaskNet(), net, y).shape
        (torch.Size([2, 1, 33, 47]), torch.Size([2, 1, 33, 47]))
    """
    mask: Tensor = mask_net(*mask_inputs(mask_net, net, y))
    return mask


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
        self.conv_first = image_conv(num_in_ch, num_feat)
        self.blocks = nn.ModuleList(ResBlock(num_feat) for _ in range(num_block))
        self.activation = nn.PReLU()
        self.conv_last = conv(num_feat, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mask of the image `x`, ``(B, 1, H, W)`` in (0, 1)."""
        feat = self.conv_first(x)
        for block in self.blocks:
            feat = block(feat, self.activation)
        return torch.sigmoid(self.conv_last(feat))


@ARCH_REGISTRY.register()
class FeatureMaskNet(MaskNet):
    """``MaskNet`` that reads the features and the residual of the network beside the image.

    The paper's mask network sees the image alone, so it cannot know what the network makes of it. This one may learn
    where the network errs. 66,529 parameters with the default arguments.

    Args:
        num_in_ch: Channels of the image.
        num_feat: Channels of the features of this network.
        num_block: Number of residual blocks.
        num_net_feat: Channels of the features of the network that is adapted, `num_feat` of ``MultiTaskNet``.
        scale: Enlargement of that network.

    Attributes:
        reads_network: True: :func:`mask_of` gives it the features and the residual.
        halo: How many pixels beyond a tile its mask depends on, beside those that the features depend on.

    Raises:
        ValueError: An argument is not a positive integer.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> mask_of(FeatureMaskNet(), MultiTaskNet(), torch.rand(1, 3, 33, 47)).shape
        torch.Size([1, 1, 33, 47])
    """

    reads_network = True

    def __init__(self, num_in_ch: int = 3, num_feat: int = 32, num_block: int = 3, num_net_feat: int = 32,
                 scale: int = 1) -> None:
        super().__init__(num_in_ch, num_feat, num_block)
        check_positive(num_net_feat=num_net_feat, scale=scale)
        self.num_net_feat, self.num_residual_ch = num_net_feat, num_in_ch * scale ** 2
        self.conv_first = image_conv(num_in_ch + num_net_feat + self.num_residual_ch, num_feat)

    def forward(self, x: Tensor, features: Tensor, residual: Tensor) -> Tensor:  # type: ignore[override]
        """Return the mask ``(B, 1, H, W)`` in (0, 1).

        Args:
            x: Images ``(B, C, H, W)`` in [0, 1].
            features: ``(B, num_net_feat, H, W)``.
            residual: What the network adds to them, ``(B, C · scale², H, W)``.

        Raises:
            ValueError: Features or residual have another number of channels.
        """
        for name, given, wanted in (('num_net_feat', features, self.num_net_feat),
                                    ('num_in_ch · scale²', residual, self.num_residual_ch)):
            if given.shape[1] != wanted:
                raise ValueError(f'{name} is {wanted}, but the network that is adapted has {given.shape[1]}')
        return super().forward(torch.cat([x, features, residual], dim=1))
