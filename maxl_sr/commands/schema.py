"""``maxl-sr schema``: the JSON Schema of the option files, by which editors complete and check them."""

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the description of the command."""
    parser.description = 'Print the JSON Schema of the option files.'


def run(args: argparse.Namespace) -> int:
    """Print the schema that comes with the package and return the exit code."""
    from maxl_sr.schema import schema_file

    sys.stdout.write(schema_file().read_text(encoding='utf-8'))
    return 0
