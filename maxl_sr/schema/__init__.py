"""The JSON Schema of the option files, by which editors complete and check them.

:mod:`~maxl_sr.schema.generate` makes it of the models; what comes with the package is that, and is read without torch.
"""

import argparse
import sys
from pathlib import Path

from maxl_sr.utils.packaged import option_folder

NAME = 'options.schema.json'


def schema_file() -> Path:
    """Return the schema that comes with the package; it lies above the option files, which name it by this place."""
    return option_folder() / NAME


def main() -> int:
    """Print the schema; return the exit code."""
    parser = argparse.ArgumentParser(prog='maxl-sr schema', description='Print the JSON Schema of the option files.')
    parser.parse_args()
    sys.stdout.write(schema_file().read_text(encoding='utf-8'))
    return 0
