"""An auxiliary head for any restoration network (the head of arXiv 2207.02066, which reads its output alone)."""

import copy
import functools
from collections.abc import Sequence
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from maxl_sr.archs.arch_util import check_positive
from maxl_sr.archs.multitask_arch import SCALES, cascaded_head, enlarge, unshuffle
from maxl_sr.archs.probing import find_halo, find_multiple, fitted
from maxl_sr.meta.network import Traits
from maxl_sr.settings.values import names


@ARCH_REGISTRY.register()
class WithAuxiliaryHead(nn.Module):
    """Network `base` of the toolbox, or of a user, with an auxiliary head behind its restored image.

    The head reconstructs the input y from ``cat(x̂, x̂ − y)``, for super-resolution from x̂ and its difference to the
    bicubic enlargement of y. ``net(x)`` is the restored image of `base`. What adapts are the sub-modules `head` of
    `base` and the auxiliary head. Where `base` has ``forward_features(x)``, one tensor with the images as its first
    dimension, and ``forward_primary(features, x)``, its features are computed once an image, otherwise the whole of
    `base` runs in every inner step.

    Images may be of any size. Where `base` takes only sides that are multiples of some number, as encoder-decoders do,
    they are continued by reflection, and the outputs are cropped. That number is ``multiple`` of `base` where it says
    so, and is found by trying otherwise; likewise ``halo``.

    An exact meta-gradient passes through the same function several times: dropout, stochastic depth and batch
    normalisation of `base` are always as in evaluation. For loop (b) of MAXL and for ``meta_gradient: replay`` the
    operations of `base` need forward-mode derivatives, as those of torch have.

    Args:
        base: Section of an option file: ``type`` and arguments of a registered network from ``(B, C, H, W)`` in [0, 1]
            to ``(B, C, sH, sW)``.
        head: Names of the sub-modules of `base` that adapt.
        num_ch: Channels of the images.
        num_feat: Channels of the auxiliary head.
        num_block: Residual blocks of the auxiliary head.
        scale: Enlargement s of `base`: 1, 2, 3 or 4.

    Attributes:
        multiple: What `base` takes multiples of, 1 for most.

    Raises:
        ValueError: An argument is outside of its range, `base` is no section of a registered network, or has no such
            sub-module, or one without weights.
    """

    def __init__(self, base: dict[str, Any], head: Sequence[str], num_ch: int = 3, num_feat: int = 32,
                 num_block: int = 1, scale: int = 1) -> None:
        super().__init__()
        check_positive(num_ch=num_ch, num_feat=num_feat, num_block=num_block)
        if type(scale) is not int or scale not in SCALES:
            raise ValueError(f'scale must be one of {", ".join(map(str, SCALES))}, not {scale!r}')
        if not isinstance(base, dict) or base.get('type') not in names(ARCH_REGISTRY):
            raise ValueError(f"base must be a section whose 'type' names a network, not {base!r}")
        if isinstance(head, str) or not head:
            raise ValueError(f'head must be a list of names of sub-modules of the base, not {head!r}')
        self.base = ARCH_REGISTRY.get(base['type'])(**{key: value for key, value in base.items() if key != 'type'})
        modules = dict(self.base.named_modules())
        for name in head:
            if name not in modules:
                known = ', '.join(child for child, _ in self.base.named_children())
                raise ValueError(f"head: {base['type']} has no sub-module {name!r}; it has {known}")
            if not any(weight.requires_grad for weight in modules[name].parameters()):
                raise ValueError(f"head: the sub-module {name!r} of {base['type']} has no weights to train")
        self.scale = scale
        self.aux_head = cascaded_head(num_ch, num_ch, num_feat, num_block, scale)
        self.adaptable = (*(f'base.{name}.' for name in head), 'aux_head.')
        self._split = hasattr(self.base, 'forward_features') and hasattr(self.base, 'forward_primary')

        self._num_ch, self._reach = num_ch, 4 + 2 * num_block  # of the auxiliary head and the enlargement
        self.eval()
        self.multiple = Traits(self.base).stated('multiple') or find_multiple(self.base, num_ch, scale)
        self.train()

    @functools.cached_property
    def halo(self) -> int | None:
        """How many pixels beyond a tile its outputs depend on, a multiple of `multiple`; None: there are no tiles."""
        stated = Traits(self.base).stated('halo')
        if stated is not None:
            return -(-(stated + self._reach) // self.multiple) * self.multiple
        net = copy.deepcopy(self).cpu().float().eval()
        return find_halo(lambda x: net.forward_heads(net.forward_features(x), x), self._num_ch, self.multiple)

    def _fitted(self, x: Tensor) -> Tensor:
        return x if self.multiple == 1 else fitted(x, self.multiple)

    def _cropped(self, restored: Tensor, x: Tensor) -> Tensor:
        if self.multiple == 1:
            return restored
        return restored[..., :self.scale * x.shape[-2], :self.scale * x.shape[-1]]

    def train(self, mode: bool = True) -> 'WithAuxiliaryHead':
        """Set the mode, except for what would make `base` another function at every call."""
        super().train(mode)
        for module in self.base.modules():
            if isinstance(module, (_DropoutNd, _BatchNorm)) or type(module).__name__ == 'DropPath':
                module.eval()
        return self

    def forward_features(self, x: Tensor) -> Tensor:
        """Return what does not adapt: the features of `base`, or the image `x` itself where `base` knows no split."""
        return self.base.forward_features(self._fitted(x)) if self._split else x

    def forward_primary(self, features: Tensor, x: Tensor) -> Tensor:
        """Return the restored image ``(B, C, sH, sW)`` from features and image."""
        fitted = self._fitted(x)
        return self._cropped(self.base.forward_primary(features, fitted) if self._split else self.base(fitted), x)

    def forward_heads(self, features: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (restored image ``(B, C, sH, sW)``, reconstruction of `x`) from features and the image `x`."""
        restored = self.forward_primary(features, x)
        outputs = torch.cat([restored, restored - enlarge(x, self.scale)], dim=1)
        return restored, self.aux_head(unshuffle(outputs, self.scale))

    def forward(self, x: Tensor) -> Tensor:
        """Return the restored image only, ``(B, C, sH, sW)``."""
        return self._cropped(self.base(self._fitted(x)), x)
