"""The inner objective: the part of test-time adaptation that can be swapped."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from maxl_sr.meta.bound import BoundNet

Heads = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def restore(heads: Heads, features: Tensor, x: Tensor) -> Tensor:
    """Return the restored image of ``heads(features, x)`` and run that head alone where `heads` is a bound network."""
    return heads.forward_primary(features, x) if isinstance(heads, BoundNet) else heads(features, x)[0]


@runtime_checkable
class Objective(Protocol):
    """A self-supervised objective of (head weights, image, mask).

    It has two steps, since with a frozen body all that `prepare` computes is needed only once an image. An objective
    that compares restored image and input, and so is for a scale of 1 alone, says so: ``same_size = True``; see
    :func:`same_size`.

    Examples:
        >>> from maxl_sr.losses.blind_spot_loss import BlindSpotLoss
        >>> isinstance(BlindSpotLoss(), Objective)
        True
    """

    def prepare(self, net: BoundNet, y: Tensor) -> Any:
        """Return the derived inputs of the image `y` ``(B, C, H, W)`` and their features ``net.forward_features``.

        A tuple of tensors, best a named one; each has the images as its first dimension.
        """
        ...

    def loss(self, heads: Heads, prepared: Any, mask: Tensor | None) -> Tensor:
        """Return the scalar objective; ``heads(features, x)`` gives (restored, reconstruction) at the weights."""
        ...


def same_size(objective: Any) -> bool:
    """Return whether `objective` compares restored image and input; False where it does not say so.

    Examples:
        >>> from maxl_sr.losses.blind_spot_loss import BlindSpotLoss
        >>> from maxl_sr.losses.redegradation_loss import RedegradationLoss
        >>> same_size(BlindSpotLoss()), same_size(RedegradationLoss())
        (True, False)
    """
    return bool(getattr(objective, 'same_size', False))
