"""Test-time adaptation for image restoration: a plugin for the BasicSR toolbox.

Importing the package registers its networks, losses, data sets and models with BasicSR.
"""

from maxl_sr.startup import start  # isort: skip  (before torch)
from maxl_sr import compat, toolbox  # noqa: F401  isort: skip  (first: BasicSR does not import without it)
from maxl_sr import archs, cli, data, losses, metrics, models, resume  # noqa: F401
from maxl_sr.restorer import Restorer

start.over()

__all__ = ['Restorer']
__version__ = '0.1.0'
