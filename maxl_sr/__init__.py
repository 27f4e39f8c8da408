"""Test-time adaptation for image restoration: a plugin for the BasicSR toolbox.

Importing the package registers its networks, losses, data sets and models with BasicSR.
"""

from maxl_sr import startup  # noqa: F401  isort: skip  (before what takes seconds)
from maxl_sr import compat  # noqa: F401  isort: skip  (first: BasicSR does not import without it)
from maxl_sr import archs, data, losses, models, resume  # noqa: F401
from maxl_sr.restorer import Restorer

__all__ = ['Restorer']
__version__ = '0.1.0'

startup.end()
