"""Metrics, found by scanning for ``*_metric.py`` and registered with BasicSR."""

from maxl_sr.utils.scan import import_modules

import_modules(__name__, '_metric')
