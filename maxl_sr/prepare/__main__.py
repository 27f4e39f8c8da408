"""``python -m maxl_sr.prepare`` is ``maxl-sr prepare``."""

import sys

from maxl_sr.commands.doors import prepare

sys.exit(prepare())
