"""What a method of a comparison is."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np


class Cost(NamedTuple):
    """What a method needs, as far as it can be told.

    Attributes:
        parameters: Number of its weights; None: it has none.
        flops: Floating-point operations a megapixel; None: not counted.
    """

    parameters: int | None = None
    flops: float | None = None


class Method(Protocol):
    """A method of a comparison.

    Attributes:
        name: Its name in the table.
        settings: What can be set, such as the strength of the noise in 1/255; each has a result of its own.
        chosen: Whether the settings are strengths among which the best one is chosen, by the ground truth; otherwise
            each has a row of its own.
    """

    name: str
    chosen: bool

    @property
    def settings(self) -> Sequence[float | str]: ...

    def results(self, image: np.ndarray) -> Iterator[tuple[float | str, np.ndarray]]:
        """Yield each setting with the restored image, one after the other.

        Args:
            image: ``(H, W, 3)``, RGB, uint8. A grey one has three equal channels.

        Returns:
            The restored images, ``(H, W, 3)``, RGB, floating point in [0, 1], not clamped.
        """
        ...

    def cost(self) -> Cost:
        """Return what it needs."""
        ...
