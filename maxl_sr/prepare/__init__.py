"""Training and test data from the layouts of the official downloads, and from pairs and bursts of one's own.

``python -m maxl_sr.prepare --help`` is the command line, :func:`run` the same from Python.
"""

from maxl_sr import register  # noqa: F401  isort: skip  (before anything of BasicSR)
from maxl_sr.prepare.command import main, run

__all__ = ['main', 'run']
