"""Algorithm 3 of arXiv 2207.02066 (meta-test), and with it the inner loop of Algorithm 2."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from maxl_sr.meta.bound import BoundNet, Weights
from maxl_sr.meta.objective import Objective

HEADS = ('primary_head.', 'aux_head.')


def adaptable_weights(net: nn.Module, params: str) -> Weights:
    """Return the weights that the inner loop changes, by name: those of the heads ('heads') or all ('all')."""
    if params not in ('heads', 'all'):
        raise ValueError(f"params must be 'heads' or 'all', not {params!r}")
    prefixes = HEADS if params == 'heads' else ''
    return {name: weight for name, weight in net.named_parameters() if name.startswith(prefixes)}


class Task:
    """The inner problem of one image: its objective and its restored image as functions of the adapted weights.

    With ``params='heads'`` whatever depends on the body alone, the features above all, is computed once.

    Args:
        net: Multi-task network; it is not changed.
        objective: The self-supervised objective.
        y: Image ``(B, C, H, W)`` in [0, 1].
        mask: Mask ``(B, 1, H, W)`` of the objective, or None.
        params: 'heads' or 'all'.
        features: Features of `y`, where they are known already; with 'heads' only.
    """

    def __init__(self, net: nn.Module, objective: Objective, y: Tensor, mask: Tensor | None, params: str = 'heads',
                 features: Tensor | None = None) -> None:
        self.weights = adaptable_weights(net, params)
        self._net, self._objective, self._y, self._mask = net, objective, y, mask
        self._features: Tensor | None = None
        self._prepared: tuple[Tensor, ...] | None = None
        if params == 'heads':
            frozen = BoundNet(net, y, features=features)
            self._features = frozen.forward_features(y)
            self._prepared = objective.prepare(frozen, y)

    def objective(self, weights: Weights) -> Tensor:
        """Return the scalar inner loss at `weights`."""
        net = BoundNet(self._net, self._y, weights, self._features)
        prepared = self._objective.prepare(net, self._y) if self._prepared is None else self._prepared
        return self._objective.loss(net.forward_heads, prepared, self._mask)

    def restored(self, weights: Weights) -> Tensor:
        """Return the restored image ``(B, C, H, W)`` at `weights`."""
        return BoundNet(self._net, self._y, weights, self._features).restored()


def inner_loop(objective: Callable[[Weights], Tensor], weights: Weights, steps: int, lr: float,
               create_graph: bool = False) -> Iterator[tuple[Weights, Tensor]]:
    """Yield, after each of `steps` gradient steps ``θ' ← θ' − lr ∇θ' L(θ')``, the weights θ' and the loss before it.

    With `create_graph` the result can be differentiated through the steps; without, the gradients are constants and
    only the identity from `weights` to θ' is left (first order).
    """
    for _ in range(steps):
        loss = objective(weights)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph,
                                        materialize_grads=True)
        weights = {name: weight - lr * gradient for (name, weight), gradient in zip(weights.items(), gradients)}
        yield weights, loss.detach()


def _adam_loop(objective: Callable[[Weights], Tensor], weights: Weights, steps: int,
               lr: float) -> Iterator[tuple[Weights, Tensor]]:
    """:func:`inner_loop` with Adam in place of gradient descent, without a graph; `weights` are changed in place."""
    optimizer = torch.optim.Adam(weights.values(), lr)
    for _ in range(steps):
        loss = objective(weights)
        optimizer.zero_grad()
        loss.backward(inputs=list(weights.values()))
        optimizer.step()
        yield {name: weight.detach().clone() for name, weight in weights.items()}, loss.detach()


def adapt(task: Task, steps: int, lr: float, optimizer: str = 'sgd') -> Iterator[tuple[Weights, Tensor]]:
    """Adapt to one image (Algorithm 3): yield the weights after each step and the objective before it.

    The network's own weights are never touched; ``task.restored(weights)`` is the restored image of any step.

    Args:
        task: The inner problem.
        steps: Number of steps K.
        lr: Step size α; for 'adam' in Adam's unit.
        optimizer: 'sgd' (plain gradient steps) or 'adam'.

    Raises:
        ValueError: `optimizer` is none of its choices.
    """
    loops = {'sgd': inner_loop, 'adam': _adam_loop}
    if optimizer not in loops:
        raise ValueError(f"optimizer must be 'sgd' or 'adam', not {optimizer!r}")
    with torch.enable_grad():  # validation runs without gradients, the inner loop needs them
        weights = {name: weight.detach().clone().requires_grad_() for name, weight in task.weights.items()}
        yield from loops[optimizer](task.objective, weights, steps, lr)
