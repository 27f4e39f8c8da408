"""``python -m maxl_sr.web`` is ``maxl-sr web``."""

import sys

from maxl_sr.commands.doors import web

sys.exit(web())
