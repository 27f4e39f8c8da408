"""What the tests on a GPU share."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch

DEVICE, NUM_GPU = 'cuda', 1


@pytest.fixture(autouse=True)
def exact_convolutions() -> Iterator[None]:
    """Convolutions of float32 in float32; products are so anyway."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before


def are_captured(found: list[bool], count: int) -> bool:
    """Whether so many iterations were captured, and all succeeded."""
    return found == count * [True]


def moved(thing: Any, device: str) -> Any:
    """A copy of an object whose modules and tensors are on a device."""
    thing = copy.deepcopy(thing)
    for name, value in vars(thing).items():
        if isinstance(value, (torch.nn.Module, torch.Tensor)):
            setattr(thing, name, value.to(device))
    return thing
