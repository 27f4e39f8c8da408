"""``maxl-sr restore``: enlarge or sharpen photographs."""

import argparse

from maxl_sr.commands import photographs
from maxl_sr.presets import PRESETS

PRESET_OF = {'sr2': 'sr_x2', 'sr4': 'sr_x4', 'deblur': 'deblur_motion'}  # what is to be done, and by which preset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    photographs.add_arguments(parser)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument('--task', choices=PRESET_OF)
    choice.add_argument('--preset', choices=list(PRESETS))
    choice.add_argument('-opt', metavar='FILE', help="option file of a test with a network of one's own")


def run(args: argparse.Namespace) -> int:
    """Restore the photographs and return the exit code."""
    return photographs.restore(args, args.preset or PRESET_OF.get(args.task, ''))
