"""What the losses share."""

from torch import Tensor

REDUCTIONS = ('none', 'mean', 'sum')


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ``ValueError`` naming the argument if `value` is none of `choices`."""
    if value not in choices:
        raise ValueError(f'{name} must be one of {", ".join(choices)}, not {value!r}')


def reduce(loss: Tensor, reduction: str) -> Tensor:
    """Reduce an element-wise loss by 'none', 'mean' (over all elements) or 'sum'."""
    check_choice('reduction', reduction, REDUCTIONS)
    return loss if reduction == 'none' else loss.mean() if reduction == 'mean' else loss.sum()
