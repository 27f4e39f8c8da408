"""The naive reference of every inner objective, by its class; each is written out beside the tests of its objective."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

import tests.losses
from maxl_sr.losses.sum_loss import SumObjective
from tests.losses.whole import Whole


def references(space: Mapping[str, Any]) -> dict[type, Callable[..., Tensor]]:
    """The functions ``naive…(loss: CLASS, net, y, mask)`` that a module defines, by the class."""
    functions = [value for name, value in space.items() if name.startswith('naive') and inspect.isfunction(value)]
    return {function.__annotations__['loss']: function for function in functions
            if list(inspect.signature(function).parameters) == ['loss', 'net', 'y', 'mask']}


def naive_sum(loss: SumObjective, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The sum of the references of its parts."""
    return sum(NAIVE[type(part)](part, net, y, mask) for part in loss.objectives)


NAIVE = references(globals())
for module in pkgutil.iter_modules(tests.losses.__path__):
    if module.name.startswith('test_') and module.name != 'test_references':  # which imports this one
        NAIVE |= references(vars(importlib.import_module(f'tests.losses.{module.name}')))
