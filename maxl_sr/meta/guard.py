"""Whether, and how far, to adapt to an image: decided without ground truth."""

from torch import Tensor, no_grad

from maxl_sr.meta.bound import Weights
from maxl_sr.meta.task import Task


class Guard:
    """Keeps the weights of the step at which another objective of the image is least.

    That objective estimates what the inner loop is for, the error against the clean image, for one
    (:class:`~maxl_sr.losses.sure_loss.SURELoss`). Where no step lowers it by more than `margin`, relative to its value
    at the trained weights, these stay.

    Args:
        task: The image with the objective of the test.
        margin: Least relative decrease, in [0, 1).

    Attributes:
        weights: The weights kept so far.
        step: The number of the step that they are of; 0: the trained weights.
        decrease: The relative decrease of the objective at them.

    Raises:
        ValueError: `margin` is out of range.
    """

    def __init__(self, task: Task, margin: float) -> None:
        if not 0 <= margin < 1:
            raise ValueError(f'margin must be at least 0 and less than 1, not {margin!r}')
        self._task = task
        self._start = self._value(task.weights)
        self._least = self._start * (1 - margin)
        self.weights, self.step, self.decrease = task.weights, 0, 0.0

    @no_grad()
    def _value(self, weights: Weights) -> Tensor:
        return self._task.objective(weights)

    def look(self, step: int, weights: Weights) -> None:
        """Take note of the adapted `weights` of a `step`, counted from 1."""
        value = self._value(weights)
        if value < self._least:
            self._least = value
            self.weights, self.step, self.decrease = weights, step, float(1 - value / self._start)
