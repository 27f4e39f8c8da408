"""Makes BasicSR fit for today and registers networks, losses, data sets, metrics and models with it.

``import maxl_sr`` imports this; a command line does when it has understood its arguments, since it takes seconds.
"""

from maxl_sr.startup import start  # isort: skip  (before torch)
from maxl_sr import compat, toolbox  # noqa: F401  isort: skip  (first: BasicSR does not import without it)
from maxl_sr import archs, data, losses, metrics, models, pipeline, resume  # noqa: F401

start.over()
