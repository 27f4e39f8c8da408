"""The command line: ``maxl-sr denoise PHOTO_OR_FOLDER… -o OUT`` and the rest; ``python -m maxl_sr`` is the same."""

import sys

from maxl_sr.commands import main

if __name__ == '__main__':
    sys.exit(main())
