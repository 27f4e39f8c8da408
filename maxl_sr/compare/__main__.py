"""``python -m maxl_sr.compare`` is ``maxl-sr compare``."""

import sys

from maxl_sr.commands.doors import compare

sys.exit(compare())
