"""The one place that puts network, objective, guard, rates and steps together for an image."""

import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from maxl_sr.errors import UserError
from maxl_sr.losses.auto_loss import AutoObjective
from maxl_sr.meta import BoundNet, Guard, InnerRates, Objective, Task, Tiling, adapt
from maxl_sr.meta.types import Weights
from maxl_sr.settings.adaptation import Adapt, GuardOptions
from maxl_sr.settings.losses import make_objective

DEFAULT_LR = 1e-5  # of meta-test, the paper's
PAPERS = {'type': 'MaskedReconstructionLoss'}  # objective, where none is given


class Adaptation:
    """The steps of one image, an iterator of (weights after a step, objective before it); then what they came to.

    Args:
        task: The inner problem.
        bound: The network at its trained weights, bound to the image.
        steps: What :func:`~maxl_sr.meta.adapt.adapt` yields, the guard watching; of several objectives in turn.
        guard: Decides which weights are kept; None: those of the last step.

    Attributes:
        task: As given.
        bound: As given.
        guarded: Whether there is a guard.
        weights: The weights that are kept; None: the trained ones.
        step: The number of the step that they are of; 0: the trained weights.
    """

    def __init__(self, task: Task, bound: BoundNet, steps: Iterator[tuple[Weights, Tensor]],
                 guard: Guard | None) -> None:
        self.task, self.bound, self.guarded = task, bound, guard is not None
        self._steps, self._guard = steps, guard
        self.weights: Weights | None = None
        self.step = 0

    def __iter__(self) -> Iterator[tuple[Weights, Tensor]]:
        for taken, (weights, loss) in enumerate(self._steps, start=1):
            if self._guard is None:
                self.weights, self.step = weights, taken
            yield weights, loss
        if self._guard is not None and self._guard.step:
            self.weights, self.step = self._guard.weights, self._guard.step

    def restored(self) -> Tensor:
        """Return the restored image ``(B, C, sH, sW)`` at the weights that are kept."""
        return self.bound.restored() if self.weights is None else self.task.restored(self.weights)


class Adapter:
    """How a network adapts to an image; the image's objective is minimised, the guard's looked at.

    Args:
        options: The section ``val: adapt``.
        scale: Enlargement of the network.
        rates: Learned inner rates, where `options` give no rate.

    Raises:
        UserError: An objective is unknown or cannot be used for this enlargement.
    """

    def __init__(self, options: Adapt, scale: Any = 1, rates: InnerRates | None = None) -> None:
        self.options, self.rates = options, rates
        self.objective = make_objective('val: adapt: aux_opt', options.aux_opt or PAPERS, scale)
        self.guard: GuardOptions | None = options.guard
        self.judge: Any = None
        if self.guard is not None:
            self.judge = make_objective('val: adapt: guard: aux_opt', self.guard.aux_opt, scale)
        elif isinstance(self.objective, AutoObjective):
            raise UserError('val: adapt: aux_opt: auto chooses by the guard; val: adapt: guard is missing')

    def to(self, device: Any) -> 'Adapter':
        """Move what has tensors to a device, and return this."""
        for part in (self.objective, self.judge, self.rates):
            if isinstance(part, nn.Module):
                part.to(device)
        return self

    @property
    def candidates(self) -> list[Any]:
        """The objectives that take steps, in turn; without the guard the first alone."""
        return list(self.objective.candidates) if isinstance(self.objective, AutoObjective) else [self.objective]

    def private(self) -> 'Adapter':
        """Return a copy that another thread does not use."""
        own = copy.copy(self)
        own.objective, own.judge = copy.deepcopy((self.objective, self.judge))
        return own

    def rate(self, lr: float | None = None) -> float | None:
        """Return the rate of all steps: `lr`, that of the options, or the paper's; None: there are learned ones."""
        given = lr or self.options.lr
        if given is not None:
            return float(given)
        return DEFAULT_LR if self.rates is None else None

    def adapt(self, net: nn.Module, y: Tensor, mask: Tensor | None, *, steps: int | None = None,
              lr: float | None = None, guard: bool = True, tiling: Tiling | None = None) -> Adaptation:
        """Return the adaptation of `net` to the images `y`, whose steps are taken as it is gone through.

        Args:
            net: Multi-task network; it is not changed.
            y: Images ``(B, C, H, W)`` in [0, 1].
            mask: Mask ``(B, 1, H, W)`` of the objective, or None. The guard gets none.
            steps: Number of steps, at most where there is a guard; None: that of the options.
            lr: Step size; None: as the options say.
            guard: Whether the guard decides, where the options have one.
            tiling: How images that are larger than a tile are computed.
        """
        opt = self.options
        number = opt.steps if steps is None else int(steps)
        bound = BoundNet(net, y, tiling=tiling)

        def task_of(objective: Objective, mask: Tensor | None) -> Task:
            return Task(net, objective, y, mask, opt.params, bound, tiling)

        rate = self.rate(lr)
        rates = self.rates(number) if rate is None and self.rates is not None else None

        def steps_of(task: Task) -> Iterator[tuple[Weights, Tensor]]:
            return adapt(task, number, rate, opt.optimizer, rates)

        if not guard or self.guard is None:
            task = task_of(self.candidates[0], mask)
            return Adaptation(task, bound, steps_of(task), None)
        judged = task_of(self.judge, None)
        watching = Guard(judged, self.guard.margin, self.guard.patience, self.guard.every)

        def watched() -> Iterator[tuple[Weights, Tensor]]:
            for objective in self.candidates if not watching.idle else ():
                yield from watching.watch(steps_of(task_of(objective, mask)), number)

        return Adaptation(judged, bound, watched(), watching)
