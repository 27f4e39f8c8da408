"""Derivatives within autocast.

On a GPU a backward pass runs in a thread of its own. It knows whether autocast is on, but not in which number format:
it would take float16 in any case.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def present(tensor: Tensor) -> Callable[[], torch.autocast]:
    """Return what makes the present autocast of the device of a tensor anew, in whatever thread."""
    kind = tensor.device.type
    dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    # Without the cache: it holds copies of weights that change within a step
    return lambda: torch.autocast(kind, dtype, enabled, cache_enabled=False)


def backward(tensor: Tensor) -> AbstractContextManager[Any]:
    """Return the context of a backward pass from a tensor: without autocast, in the formats of the forward pass."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
