"""What comes of an image: the restored one, and what it was adapted to."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from maxl_sr.meta import Task
from maxl_sr.meta.types import Weights


@dataclass(frozen=True)
class Restoration:
    """A restored image and how it came about.

    Attributes:
        image: The restored image, of the kind of the input.
        steps: After how many steps the weights were kept; 0: those that were trained.
        losses: The objective before every step that was taken.
        seconds: Time that it took.
        mask: The mask ``(H, W)`` in (0, 1); None: there is no mask network.
    """

    image: np.ndarray
    steps: int
    losses: list[float]
    seconds: float
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Found:
    """What was found for one image: the network, a copy of its own, and the weights to replace in it."""

    net: nn.Module
    task: Task | None
    weights: Weights | None
    steps: int
    losses: list[float]
    mask: Tensor | None = None
