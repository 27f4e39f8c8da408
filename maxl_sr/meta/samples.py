"""A sum over the samples of a batch: one after the other in little memory, or together in few kernels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import vmap

from maxl_sr.meta.bound import Weights
from maxl_sr.meta.task import Inputs

SampleLoss = Callable[[tuple[Tensor, ...], Inputs], Tensor]


def sum_over_samples(loss: SampleLoss, shared: tuple[Tensor, ...], batched: Inputs) -> Tensor:
    """Return ``Σ_i loss(shared, batched[i:i+1])``, differentiable once in all tensors.

    Every sample is differentiated as soon as its loss is known, so that there is only one graph at a time, whatever
    the size of the batch.
    """
    return _SumOverSamples.apply(loss, len(shared), *shared, *batched)


class _SumOverSamples(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, loss: SampleLoss, num_shared: int, *tensors: Tensor | None) -> Tensor:
        needs = ctx.needs_input_grad[2:]
        shared = tuple(tensor.detach().requires_grad_(need)  # type: ignore[union-attr]
                       for tensor, need in zip(tensors[:num_shared], needs))
        batched = tensors[num_shared:]
        sums: list[Tensor | None] = [None for _ in shared]
        parts: list[list[Tensor]] = [[] for _ in batched]
        losses = []
        for index in range(next(len(tensor) for tensor in batched if tensor is not None)):
            sample = tuple(None if tensor is None else tensor[index:index + 1].detach().requires_grad_(need)
                           for tensor, need in zip(batched, needs[num_shared:]))
            with torch.enable_grad():
                value = loss(shared, sample)
            losses.append(value.detach())
            for i, grad in enumerate(gradients(value, (*shared, *sample))):
                if i >= num_shared and needs[i]:
                    own = sample[i - num_shared]
                    assert own is not None
                    parts[i - num_shared].append(torch.zeros_like(own) if grad is None else grad)
                elif grad is not None:
                    previous = sums[i]
                    sums[i] = grad if previous is None else previous + grad
            del value
        ctx.save_for_backward(*sums, *(torch.cat(part) if part else None for part in parts))
        return torch.stack(losses).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Any, ...]:
        return None, None, *(None if grad is None else outer * grad for grad in ctx.saved_tensors)


def gradients(value: Tensor, tensors: Inputs) -> list[Tensor | None]:
    """Return the gradient of the scalar `value` in each of the tensors; None where there is none."""
    wanted = [tensor for tensor in tensors if tensor is not None and tensor.requires_grad]
    grads = iter(torch.autograd.grad(value, wanted, allow_unused=True) if wanted and value.requires_grad else ())
    return [next(grads, None) if tensor is not None and tensor.requires_grad else None for tensor in tensors]


def one_for_each(weights: Weights, count: int) -> Weights:
    """Return the weights of `count` samples ``(count, …)``, all of them the same."""
    return {name: weight.expand(count, *weight.shape).clone() for name, weight in weights.items()}


def together(function: Callable[[Weights, Inputs], Tensor], weights: Weights, inputs: Inputs) -> Tensor:
    """Return ``function(weights[i], inputs[i:i+1])`` of every sample i, stacked, in as many kernels as for one."""
    present = {index: tensor for index, tensor in enumerate(inputs) if tensor is not None}

    def of_one(own: Weights, *tensors: Tensor) -> Tensor:
        sample: list[Tensor | None] = [None for _ in inputs]
        for index, tensor in zip(present, tensors):
            sample[index] = tensor.unsqueeze(0)
        return function(own, tuple(sample))

    return vmap(of_one, randomness='same')(weights, *present.values())
