"""``maxl-sr denoise``: restore noisy photographs."""

import argparse

from maxl_sr.commands import photographs
from maxl_sr.presets import PRESETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    photographs.add_arguments(parser)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument('--preset', default='fast',
                        choices=[name for name, preset in PRESETS.items() if preset.purpose == 'denoise'])
    choice.add_argument('-opt', metavar='FILE', help="option file of a test with a network of one's own")


def run(args: argparse.Namespace) -> int:
    """Restore the photographs and return the exit code."""
    return photographs.restore(args, args.preset)
