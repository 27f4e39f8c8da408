"""Test-time adaptation for image restoration: a plugin for the BasicSR toolbox.

Importing the package registers its networks, losses, data sets and models with BasicSR. In the package's own commands
it does not: they import what they need, when they need it.
"""

from typing import TYPE_CHECKING, Any

from maxl_sr.startup import is_command

if TYPE_CHECKING:
    from maxl_sr.restorer import Restorer

__all__ = ['Restorer']
__version__ = '0.1.0'


def __getattr__(name: str) -> Any:
    if name != 'Restorer':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from maxl_sr import register  # noqa: F401
    from maxl_sr.restorer import Restorer
    return Restorer


if not is_command():
    from maxl_sr import register  # noqa: F401
