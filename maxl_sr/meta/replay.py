"""The exact meta-gradient of an inner loop at a memory that does not grow with the number of steps."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import jvp
from torch.utils._pytree import tree_flatten, tree_unflatten

from maxl_sr.meta.autocast import backward, present
from maxl_sr.meta.samples import gradients
from maxl_sr.meta.types import Rates, Weights


def replay(loss: Callable[[Weights, Any], Tensor], weights: Weights, inputs: Any, rates: Rates) -> Weights:
    """Return ``θ'_K`` of the gradient steps ``θ'_k = θ'_{k−1} − α_k ∇θ' L(θ'_{k−1}, inputs)`` from ``θ'_0 = weights``.

    Differentiable once, in `weights`, `inputs` and `rates`. Weights and gradients of the K steps are all that is kept.
    The backward pass walks from ``v = ∂/∂θ'_K`` back through k = K … 1: with ``s = ⟨∇θ' L(θ'_{k−1}, inputs), α_k v⟩``,
    the derivative of L in the direction ``α_k v`` (one forward-mode product),

        ∂/∂α_k = −v ⊙ ∇θ' L,   ∂/∂inputs −= ∂s/∂inputs,   v ← v − ∂s/∂θ'.

    Args:
        loss: L; it may depend on tensors other than its arguments, but no gradient reaches these.
        weights: θ'_0 by name.
        inputs: What else L depends on: tensors or None, in dictionaries, lists and tuples.
        rates: α of every step; their number is K.

    Examples:
        >>> import torch
        >>> w, x = torch.ones(2, requires_grad=True), torch.tensor([1., 2.], requires_grad=True)
        >>> square = lambda weights, inputs: (weights['w'] * inputs[0]).square().sum() / 2
        >>> adapted = replay(square, {'w': w}, (x, ), [{'w': 0.1}])['w']  # w − 0.1 x² w
        >>> torch.autograd.grad(adapted.sum(), (w, x))
        (tensor([0.9000, 0.6000]), tensor([-0.2000, -0.4000]))
    """
    leaves, spec = tree_flatten(inputs)
    flat = [rates_k[name] for rates_k in rates for name in weights]

    def of_leaves(at: Weights, tensors: Sequence[Tensor | None]) -> Tensor:
        return loss(at, tree_unflatten(list(tensors), spec))

    adapted = _Replay.apply(of_leaves, tuple(weights), len(rates), len(leaves), *weights.values(), *leaves, *flat)
    return dict(zip(weights, adapted))


class _Replay(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, loss: Callable[[Weights, Sequence[Tensor | None]], Tensor], names: tuple[str, ...],
                steps: int, num_inputs: int, *tensors: Any) -> tuple[Tensor, ...]:
        count = len(names)
        weights, inputs, rates = tensors[:count], tensors[count:count + num_inputs], tensors[count + num_inputs:]
        learning = any(ctx.needs_input_grad[4 + count + num_inputs:])
        # In one piece each, made beforehand: small tensors kept between large ones that go would fragment the memory
        kept = [weight.new_empty((steps, *weight.shape)) for weight in weights]
        slopes = [weight.new_empty((steps, *weight.shape)) for weight in weights if learning]
        for step in range(steps):
            with torch.enable_grad():
                leaves = [weight.detach().requires_grad_() for weight in weights]
                value = loss(dict(zip(names, leaves)), inputs)
                with backward(value):
                    slope = torch.autograd.grad(value, leaves, materialize_grads=True)
            del value  # and its graph
            for places, values in ((kept, weights), (slopes, slope)):
                for place, new in zip(places, values):
                    place[step] = new
            own = rates[step * count:(step + 1) * count]
            weights = tuple(weight - rate * s for weight, rate, s in zip(weights, own, slope))
        ctx.autocast = present(weights[0])
        ctx.loss, ctx.names, ctx.steps, ctx.num_inputs = loss, names, steps, num_inputs
        ctx.fixed_rates = [None if isinstance(rate, Tensor) else rate for rate in rates]
        ctx.save_for_backward(*inputs, *kept, *(rate for rate in rates if isinstance(rate, Tensor)), *slopes)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Any, ...]:
        names, count, num_inputs = ctx.names, len(ctx.names), ctx.num_inputs
        saved = iter(ctx.saved_tensors)
        inputs = [next(saved) for _ in range(num_inputs)]
        kept = [next(saved) for _ in names]
        rates = [next(saved) if rate is None else rate for rate in ctx.fixed_rates]
        slopes = list(saved)
        needs = ctx.needs_input_grad[4 + count:]
        held = tuple(None if tensor is None else tensor.detach().requires_grad_(need)
                     for tensor, need in zip(inputs, needs))
        input_grads: list[Tensor | None] = [None for _ in inputs]
        rate_grads: list[Tensor | None] = [None for _ in rates]
        v = list(outer)
        for step in reversed(range(ctx.steps)):
            own = slice(step * count, (step + 1) * count)
            for i, place in enumerate(range(own.start, own.stop)):
                if needs[num_inputs + place]:
                    rate_grads[place] = (-v[i] * slopes[i][step]).sum_to_size(rates[place].shape)
            with torch.enable_grad():
                leaves = {name: weight[step].detach().requires_grad_() for name, weight in zip(names, kept)}
                direction = {name: rate * value for name, rate, value in zip(names, rates[own], v)}
                with ctx.autocast():
                    slope = jvp(lambda weights: ctx.loss(weights, held), (leaves, ), (direction, ))[1]
                grads = gradients(slope, (*leaves.values(), *held))
            v = [value if grad is None else value - grad for value, grad in zip(v, grads)]
            for i, grad in enumerate(grads[count:]):
                previous = input_grads[i]
                if grad is not None:
                    input_grads[i] = -grad if previous is None else previous.sub_(grad)
            del slope, grads, grad  # or they would lie beside the graph of the next step
        return None, None, None, None, *v, *input_grads, *rate_grads
