"""Convolutions whose second derivatives cost as much arithmetic as they need."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

_backward = torch.ops.aten.convolution_backward.default


class DirectDoubleBackward(TorchFunctionMode):
    """Within this context the double backward of ``F.conv2d`` is made of ordinary forward and backward convolutions.

    With the cotangents u, v of the gradients into x and w, and g the gradient at the output,

        ``∂/∂g = u ∗ w + x ∗ v``, ``∂/∂x = g ∗ᵀ v``, ``∂/∂w = u ⋆ g``.

    torch's own formula computes the same with transposed and batch-as-channel convolutions, which are slower on a CPU.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        if func is not torch.conv2d or not torch.is_grad_enabled():
            return func(*args, **(kwargs or {}))
        return self._conv2d(*args, **(kwargs or {}))

    @staticmethod
    def _conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
                dilation: Any = 1, groups: int = 1) -> Tensor:
        if groups != 1 or isinstance(padding, str) or input.dim() != 4:
            return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
        if torch.is_autocast_enabled(input.device.type):  # which sees the call below, but not the tensors it keeps
            dtype = torch.get_autocast_dtype(input.device.type)
            input, weight = input.to(dtype), weight.to(dtype)
        setting = tuple(list(value) if isinstance(value, tuple) else [value, value]
                        for value in (stride, padding, dilation))
        output: Tensor = _Conv2d.apply(input, weight, setting)
        return output if bias is None else output + bias.view(1, -1, 1, 1)


class _Conv2d(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, setting: tuple[list[int], ...]) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.setting = setting
        output: Tensor = torch.conv2d(x, w, None, *setting)  # type: ignore[call-overload]
        return output

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        gx, gw = _Conv2dBackward.apply(g, *ctx.saved_tensors, ctx.setting, ctx.needs_input_grad[:2])
        return gx, gw, None


class _Conv2dBackward(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, w: Tensor, setting: tuple[list[int], ...],
                needs: tuple[bool, bool]) -> tuple[Tensor | None, Tensor | None]:
        ctx.save_for_backward(g, x, w)
        ctx.setting = setting
        ctx.set_materialize_grads(False)
        gx, gw, _ = _backward(g, x, w, None, *setting, False, [0, 0], 1, [*needs, False])
        return gx, gw

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None) -> tuple[Any, ...]:
        (g, x, w), setting = ctx.saved_tensors, ctx.setting
        need_g, need_x, need_w = ctx.needs_input_grad[:3]
        dg = dx = dw = None
        if need_g and v is not None:
            dg = torch.conv2d(x, v, None, *setting)
        if need_g and u is not None:
            part = torch.conv2d(u, w, None, *setting)
            dg = part if dg is None else dg.add_(part)
        if need_x and v is not None:
            dx = _backward(g, x, v, None, *setting, False, [0, 0], 1, [True, False, False])[0]
        if need_w and u is not None:
            dw = _backward(g, u, w, None, *setting, False, [0, 0], 1, [False, True, False])[1]
        return dg, dx, dw, None, None
