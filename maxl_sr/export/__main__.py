"""``python -m maxl_sr.export`` is ``maxl-sr export``."""

import sys

from maxl_sr.commands.doors import export

sys.exit(export())
