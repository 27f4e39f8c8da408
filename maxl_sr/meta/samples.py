"""A sum over the samples of a batch: one after the other in little memory, or together in few kernels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from maxl_sr.meta.autocast import backward
from maxl_sr.meta.types import Weights


def sum_over_samples(loss: Callable[[Any, Any], Tensor], shared: Any, batched: Any) -> Tensor:
    """Return ``Σ_i loss(shared, batched[i:i+1])``, differentiable once in all tensors.

    Every sample is differentiated as soon as its loss is known, so that there is only one graph at a time, whatever
    the size of the batch.

    Args:
        loss: The scalar loss of one sample.
        shared: What is the same for all samples: tensors and numbers in dictionaries, lists and tuples.
        batched: Tensors or None, likewise, each with the samples as its first dimension.
    """
    shared_leaves, shared_spec = tree_flatten(shared)
    leaves, spec = tree_flatten(batched)

    def flat(of_all: Sequence[Any], of_one: Sequence[Any]) -> Tensor:
        return loss(tree_unflatten(list(of_all), shared_spec), tree_unflatten(list(of_one), spec))

    total: Tensor = _SumOverSamples.apply(flat, len(shared_leaves), *shared_leaves, *leaves)
    return total


class _SumOverSamples(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, loss: Callable[[Sequence[Any], Sequence[Any]], Tensor], num_shared: int,
                *tensors: Any) -> Tensor:
        needs = ctx.needs_input_grad[2:]
        shared = tuple(tensor.detach().requires_grad_(need) if isinstance(tensor, Tensor) else tensor
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


def gradients(value: Tensor, leaves: Sequence[Any]) -> list[Tensor | None]:
    """Return the gradient of the scalar `value` in each of the tensors; None where there is none."""
    wanted = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
    with backward(value):
        grads = iter(torch.autograd.grad(value, wanted, allow_unused=True) if wanted and value.requires_grad else ())
    return [next(grads, None) if isinstance(leaf, Tensor) and leaf.requires_grad else None for leaf in leaves]


def one_for_each(weights: Weights, count: int) -> Weights:
    """Return the weights of `count` samples ``(count, …)``, all of them the same."""
    return {name: weight.expand(count, *weight.shape).clone() for name, weight in weights.items()}


def together(function: Callable[[Weights, Any], Tensor], weights: Weights, inputs: Any) -> Tensor:
    """Return ``function(weights[i], inputs[i:i+1])`` of every sample i, stacked, in as many kernels as for one.

    `inputs` are tensors or None in dictionaries, lists and tuples.
    """
    leaves, spec = tree_flatten(inputs)
    present = [index for index, leaf in enumerate(leaves) if leaf is not None]

    def of_one(own: Weights, *tensors: Tensor) -> Tensor:
        sample: list[Tensor | None] = [None for _ in leaves]
        for index, tensor in zip(present, tensors):
            sample[index] = tensor.unsqueeze(0)
        return function(own, tree_unflatten(sample, spec))

    return vmap(of_one, randomness='same')(weights, *(leaves[index] for index in present))
