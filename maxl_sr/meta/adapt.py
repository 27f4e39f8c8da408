"""Algorithm 3 of arXiv 2207.02066 (meta-test), and with it the inner loop of Algorithm 2."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from maxl_sr.meta.autocast import backward
from maxl_sr.meta.rates import rates_of
from maxl_sr.meta.task import Task
from maxl_sr.meta.types import Rates, Weights


def inner_loop(objective: Callable[[Weights], Tensor], weights: Weights, rates: Rates,
               create_graph: bool = False) -> Iterator[tuple[Weights, Tensor]]:
    """Yield, after each gradient step ``θ' ← θ' − α_k ∇θ' L(θ')``, the weights θ' and the loss before it.

    With `create_graph` the result can be differentiated through the steps; without, the gradients are constants and
    only the identity from `weights` to θ' is left (first order).

    Examples:
        >>> weights = {'w': torch.tensor(1., requires_grad=True)}
        >>> [float(w['w'].detach()) for w, _ in inner_loop(lambda at: at['w'] ** 2, weights, 2 * [{'w': 0.25}])]
        [0.5, 0.25]
    """
    for rate in rates:
        loss = objective(weights)
        with backward(loss):
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph,
                                            materialize_grads=True)
        weights = {name: weight - rate[name] * gradient
                   for (name, weight), gradient in zip(weights.items(), gradients)}
        yield weights, loss.detach()


def _adam_loop(objective: Callable[[Weights], Tensor], weights: Weights, steps: int,
               lr: float) -> Iterator[tuple[Weights, Tensor]]:
    """:func:`inner_loop` with Adam in place of gradient descent, without a graph; `weights` are changed in place."""
    optimizer = torch.optim.Adam(weights.values(), lr)
    for _ in range(steps):
        loss = objective(weights)
        optimizer.zero_grad()
        with backward(loss):
            loss.backward(inputs=list(weights.values()))
        optimizer.step()
        yield {name: weight.detach().clone() for name, weight in weights.items()}, loss.detach()


@torch.enable_grad()  # validation runs without gradients, the inner loop needs them
def adapt(task: Task, steps: int, lr: float | None = None, optimizer: str = 'sgd',
          rates: Rates | None = None) -> Iterator[tuple[Weights, Tensor]]:
    """Adapt to one image (Algorithm 3): yield the weights after each step and the objective before it.

    The network's own weights are never touched; ``task.restored(weights)`` is the restored image of any step.

    Args:
        task: The inner problem.
        steps: Number of steps K.
        lr: Step size α; for 'adam' in Adam's unit.
        optimizer: 'sgd' (plain gradient steps) or 'adam'.
        rates: In place of `lr`, for 'sgd': the rates of every step, such as an
            :class:`~maxl_sr.meta.rates.InnerRates` gives.

    Raises:
        ValueError: `optimizer` is none of its choices, or the rates do not fit.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.losses.blind_spot_loss import BlindSpotLoss
        >>> from maxl_sr.meta import Task
        >>> task = Task(MultiTaskNet(num_feat=8, feat_step=4), BlindSpotLoss(), torch.rand(1, 3, 16, 16), mask=None)
        >>> steps = list(adapt(task, steps=3, lr=1e-3, optimizer='adam'))
        >>> restored = task.restored(steps[-1][0])
    """
    if optimizer not in ('sgd', 'adam'):
        raise ValueError(f"optimizer must be 'sgd' or 'adam', not {optimizer!r}")
    weights = {name: weight.detach().clone().requires_grad_() for name, weight in task.weights.items()}
    if optimizer == 'sgd':
        yield from inner_loop(task.objective, weights, rates_of(weights, steps, lr, rates))
    elif lr is None or rates is not None:
        raise ValueError("rates of every step are those of 'sgd' steps; 'adam' takes one number")
    else:
        yield from _adam_loop(task.objective, weights, steps, lr)
