"""A multi-task network bound to given weights and one image."""

from collections.abc import Callable, Hashable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from torch import Tensor, nn
from torch.func import functional_call

from maxl_sr.meta.space import realised, shifted
from maxl_sr.meta.tiled import Tiling, tiled
from maxl_sr.meta.types import Weights

Value = TypeVar('Value')
Arguments = ParamSpec('Arguments')


class _Method(nn.Module):
    """A module whose call is a method of another one; ``functional_call`` knows calls only."""

    def __init__(self, net: nn.Module, method: str) -> None:
        super().__init__()
        self.net = net
        self.method = method

    def forward(self, *args: Tensor) -> Any:
        return getattr(self.net, self.method)(*args)


class BoundNet:
    """`net` with some of its weights replaced, which runs body and heads on the image `y` once only.

    Args:
        net: A network with ``forward_features(x)``, ``forward_primary(features, x)`` and
            ``forward_heads(features, x)``; it is not changed.
        y: Image ``(B, C, H, W)``.
        weights: Replaced weights by parameter name, gains or offset of the input, see
            :func:`~maxl_sr.meta.space.adaptable_weights`; None replaces nothing.
        features: The features of `y`, where they are known already.
        tiling: How larger images are computed, tile by tile; their features are not kept: for an image that
            ``tiling.splits``, the image itself stands for them.

    Attributes:
        y: The image.

    Raises:
        ValueError: An image that is larger than a tile has an offset.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> net, y = MultiTaskNet(), torch.rand(1, 3, 16, 16)
        >>> zero = {'primary_head.2.weight': torch.zeros_like(net.primary_head[2].weight)}
        >>> bool((BoundNet(net, y, zero).restored() == y).all())  # no residual
        True
    """

    def __init__(self, net: nn.Module, y: Tensor, weights: Weights | None = None,
                 features: Tensor | None = None, tiling: Tiling | None = None) -> None:
        self._net = net
        plain, self._offset = realised(net, weights or {})
        self._weights = {f'net.{name}': weight for name, weight in plain.items()}
        self.y = y
        self._features = features
        self._tiling = tiling
        self._outputs: tuple[Tensor, Tensor] | None = None
        self._restored: Tensor | None = None
        self._kept: dict[Hashable, Any] = {}
        if self._offset is not None and self._splits(y):
            raise ValueError(f'an offset of the input is for images of one tile, not for {tuple(y.shape[-2:])}')

    def once(self, function: Callable[Concatenate['BoundNet', Arguments], Value], *args: Arguments.args,
             **kwargs: Arguments.kwargs) -> Value:
        """Return ``function(self, *args)``, computed once: what the objectives of an image have in common."""
        key = (function, args)
        if key not in self._kept:
            self._kept[key] = function(self, *args, **kwargs)
        return cast(Value, self._kept[key])

    def trained(self) -> 'BoundNet':
        """Return the network bound to `y` with its own weights: this, where none is replaced."""
        if not self._weights and self._offset is None:
            return self
        return BoundNet(self._net, self.y, tiling=self._tiling)

    def _call(self, weights: Weights, method: str, *args: Tensor) -> Any:
        if self._offset is not None:  # the image is the last argument of every method
            args = (*args[:-1], shifted(args[-1], self._offset))
        if not weights:
            return getattr(self._net, method)(*args)
        return functional_call(_Method(self._net, method), weights, args)

    def _splits(self, x: Tensor) -> bool:
        return self._tiling is not None and self._tiling.splits(x)

    def _outputs_of(self, method: str, features: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        def outputs(weights: Weights, features: Tensor, x: Tensor) -> tuple[Tensor, ...]:
            returned = self._call(weights, method, features, x)
            return returned if isinstance(returned, tuple) else (returned, )

        if self._tiling is None or not self._splits(x):
            return outputs(self._weights, features, x)
        return tiled(lambda weights, part: outputs(weights, self._call(weights, 'forward_features', part), part),
                     self._weights, x, self._tiling)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features of the image `x` ``(B, C, H, W)``."""
        if self._splits(x):
            return x
        if x is not self.y:
            features: Tensor = self._call(self._weights, 'forward_features', x)
            return features
        if self._features is None:
            self._features = self._call(self._weights, 'forward_features', x)
        return self._features

    def forward_heads(self, features: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (restored image, reconstruction of `x`), both ``(B, C, H, W)``."""
        if x is not self.y or features is not self._features:
            restored, reconstruction = self._outputs_of('forward_heads', features, x)
            return restored, reconstruction
        if self._outputs is None:
            restored, reconstruction = self._outputs_of('forward_heads', features, x)
            self._outputs = restored, reconstruction
        return self._outputs

    def __call__(self, features: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return :meth:`forward_heads`: the bound network is the ``heads`` of an objective."""
        return self.forward_heads(features, x)

    def forward_primary(self, features: Tensor, x: Tensor) -> Tensor:
        """Return the restored image of `x` ``(B, C, H, W)`` alone, without the auxiliary head."""
        return self._outputs_of('forward_primary', features, x)[0]

    def restored(self, x: Tensor | None = None) -> Tensor:
        """Return the restored image ``(B, C, sH, sW)`` of the image `x` ``(B, C, H, W)``, or of `y`."""
        if x is not None and x is not self.y:
            return self.forward_primary(self.forward_features(x), x)
        if self._outputs is not None:
            return self._outputs[0]
        if self._restored is None:
            self._restored = self.forward_primary(self.forward_features(self.y), self.y)
        return self._restored
