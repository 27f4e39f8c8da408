"""Test a model from an option file: ``python -m maxl_sr.test -opt options/….yml``, with all of BasicSR's flags."""

import sys
from pathlib import Path

if not __package__:  # python maxl_sr/test.py: the package's parent belongs on the path, not the package
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import maxl_sr.register  # noqa: F401  isort: skip
import basicsr.test

from maxl_sr.cli import run


def main() -> int:
    """Run BasicSR's test pipeline in the current folder; return the exit code."""
    return run(basicsr.test, 'test_pipeline')


if __name__ == '__main__':
    sys.exit(main())
