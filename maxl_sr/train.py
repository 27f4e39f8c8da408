"""Train a model from an option file: ``python -m maxl_sr.train -opt options/….yml``, with all of BasicSR's flags."""

import sys
from pathlib import Path

if not __package__:  # python maxl_sr/train.py: the package's parent belongs on the path, not the package
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from maxl_sr.commands.doors import train as main

if __name__ == '__main__':
    sys.exit(main())
