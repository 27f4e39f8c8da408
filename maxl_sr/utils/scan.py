"""BasicSR's convention: modules are found by the end of their file name and register themselves on import."""

import importlib
import pkgutil


def import_modules(package: str, suffix: str) -> None:
    """Import every module of `package` whose name ends in `suffix`."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module.name.endswith(suffix):
            importlib.import_module(f'{package}.{module.name}')
