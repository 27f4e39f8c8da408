"""Training and test data from the layouts of the official downloads, and from pairs and bursts of one's own.

``python -m maxl_sr.prepare --help`` is the command line, :func:`run` the same from Python.
"""

from typing import TYPE_CHECKING

from maxl_sr.utils.lazy import lazy

if TYPE_CHECKING:
    from maxl_sr.commands.doors import prepare as main
    from maxl_sr.commands.doors import prepared as run

__all__ = ['main', 'run']
__getattr__ = lazy(__name__, {
    'main': 'maxl_sr.commands.doors:prepare',
    'run': 'maxl_sr.commands.doors:prepared',
})
