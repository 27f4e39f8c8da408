"""``python -m maxl_sr.web`` is ``maxl-sr web``."""

import sys

from maxl_sr.web.server import main

sys.exit(main())
