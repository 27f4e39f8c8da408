"""What depends on the size of an image alone is computed once for it."""

import functools
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

SIZES = 8  # that are remembered: a folder of photographs may have any number of them

Arguments = ParamSpec('Arguments')
Result = TypeVar('Result')


class BySize(Generic[Arguments, Result]):
    """Decorator that remembers what a function has returned for the last :data:`SIZES` arguments.

    What was asked for while a CUDA graph was captured stays for good, since the graph reads it at its address; a
    training has few graphs, each of one size.
    """

    def __init__(self, function: Callable[Arguments, Result]) -> None:
        cached = functools.lru_cache(SIZES)(function)
        self._latest: Callable[Arguments, Result] = cached
        self._clear = cached.cache_clear
        self._of_graphs: list[Result] = []
        functools.update_wrapper(self, function)

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        result = self._latest(*args, **kwargs)
        if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
            self._of_graphs.append(result)
        return result

    def cache_clear(self) -> None:
        """Forget what was returned, but for what graphs read."""
        self._clear()
