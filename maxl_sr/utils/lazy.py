"""Packages whose names are imported when they are asked for: their commands answer without what computes."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package.

    Args:
        package: Its name.
        places: Where each of its names is from, as ``module:name``.
    """
    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        module, _, attribute = places[name].partition(':')
        return getattr(importlib.import_module(module), attribute)

    return find
