"""Names of the types that the functions of this package share."""

from typing import Any, NamedTuple

from torch import Tensor

Weights = dict[str, Tensor]  # by the name of the parameter
Rates = list[dict[str, Tensor | float]]  # of every step, by the name of the weight
Slices = tuple[slice, slice]  # of height and width
Prepared = tuple[Any, ...]  # tensors of an objective, each with the images as its first dimension; may be nested


class Inputs(NamedTuple):
    """What the inner problem depends on besides the weights that adapt; each with the images as its first dimension.

    Attributes:
        mask: Mask ``(B, 1, H, W)``, or None.
        y: Images ``(B, C, H, W)``.
        features: Their features, where the body does not adapt and the objective does not hold them already.
        prepared: What the objective has prepared, where the body does not adapt.
    """

    mask: Tensor | None
    y: Tensor
    features: Tensor | None = None
    prepared: Prepared = ()
