"""``python -m maxl_sr.prepare``."""

import sys

from maxl_sr.prepare.command import main

sys.exit(main())
