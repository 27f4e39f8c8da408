"""Whether, and how far, to adapt to an image: decided without ground truth."""

from collections.abc import Iterable, Iterator

from torch import Tensor, no_grad

from maxl_sr.meta.task import Task
from maxl_sr.meta.types import Weights


class Guard:
    """Keeps the weights of the step at which another objective of the image is least.

    That objective estimates what the inner loop is for, the error against the clean image, for one
    (:class:`~maxl_sr.losses.sure_loss.SURELoss`). Weights are kept if they lower it by more than `margin`,
    relative to its value at the trained weights, below its value at those kept so far: the trained ones to begin with.

    Args:
        task: The image with the objective of the test.
        margin: Least relative decrease, in [0, 1).
        patience: After so many looks in a row that kept nothing, further steps are not worth their time; None: they
            always are.
        every: How many steps lie between two looks; the last step is looked at in any case.

    Attributes:
        weights: The weights kept so far.
        step: The number of the step that they are of; 0: the trained weights.
        decrease: The relative decrease of the objective at them.

    Raises:
        ValueError: `margin`, `patience` or `every` is out of range.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.losses.blind_spot_loss import BlindSpotLoss
        >>> from maxl_sr.meta import Task
        >>> task = Task(MultiTaskNet(num_feat=8, feat_step=4), BlindSpotLoss(), torch.rand(1, 3, 16, 16), mask=None)
        >>> from maxl_sr.meta import adapt
        >>> guard = Guard(task, margin=0.05, patience=1)
        >>> for weights, loss in guard.watch(adapt(task, steps=3, lr=1e-5), steps=3):
        ...     pass
        >>> restored = task.restored(guard.weights)  # the trained weights where guard.step is 0
    """

    def __init__(self, task: Task, margin: float, patience: int | None = None, every: int = 1) -> None:
        if not 0 <= margin < 1:
            raise ValueError(f'margin must be at least 0 and less than 1, not {margin!r}')
        if patience is not None and patience < 1:
            raise ValueError(f'patience must be at least 1, not {patience!r}')
        if every < 1:
            raise ValueError(f'every must be at least 1, not {every!r}')
        self._task, self._patience, self._every, self._in_vain = task, patience, every, 0
        self._start = self._least = self._value(task.weights)
        self._margin = margin * self._start.abs()
        self.weights, self.step, self.decrease = task.weights, 0, 0.0

    @property
    def idle(self) -> bool:
        """Whether its objective leaves all images alone: it is 0 at the trained weights, and no step can lower it."""
        return bool(self._start == 0)

    @no_grad()
    def _value(self, weights: Weights) -> Tensor:
        return self._task.objective(weights)

    def look(self, step: int, weights: Weights) -> bool:
        """Take note of the adapted `weights` of a `step`, counted from 1; return whether to go on."""
        value = self._value(weights)
        self._in_vain += 1
        if value < self._least - self._margin:
            self._least, self._in_vain = value, 0
            self.weights, self.step, self.decrease = weights, step, float((self._start - value) / self._start.abs())
        return self._patience is None or self._in_vain < self._patience

    def watch(self, adapting: Iterable[tuple[Weights, Tensor]], steps: int) -> Iterator[tuple[Weights, Tensor]]:
        """Yield what :func:`~maxl_sr.meta.adapt.adapt` yields in `steps` steps, while they are worth it.

        Several adaptations can be watched in turn: the best weights of them all are kept.
        """
        self._in_vain = 0
        for step, (weights, loss) in enumerate(adapting, start=1):
            due = step % self._every == 0 or step == steps
            go_on = not due or self.look(step, weights)
            yield weights, loss
            if not go_on:
                return
