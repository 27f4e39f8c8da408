"""A network as the naive references of the objectives see it: functions of an image."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Whole(NamedTuple):
    """The whole network, run from the start every time.

    Attributes:
        outputs: Restored image and reconstruction of an image at the weights of this step.
        first: The restored image at the weights to which what is prepared belongs, a constant.
        trained: The restored image at the trained weights, a constant.
    """

    outputs: Callable[[Tensor], tuple[Tensor, Tensor]]
    first: Callable[[Tensor], Tensor]
    trained: Callable[[Tensor], Tensor]

    def restored(self, x: Tensor) -> Tensor:
        """Return the restored image at the weights of this step."""
        return self.outputs(x)[0]
