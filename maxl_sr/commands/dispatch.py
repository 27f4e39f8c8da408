"""Which commands there are, and how one is called: its arguments are read, it runs, and what it fails of is told."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from maxl_sr import __version__
from maxl_sr.policy import told

# By name, as of the module here: what it is for
COMMANDS = {
    'denoise': 'restore noisy photographs',
    'restore': 'enlarge or sharpen photographs',
    'train': 'train a model from an option file, as python -m maxl_sr.train',
    'test': 'test a model from an option file, as python -m maxl_sr.test',
    'prepare': 'make data sets of the official downloads, as python -m maxl_sr.prepare',
    'export': 'write a network as ONNX, safetensors or checkpoint, for other programs',
    'web': 'a page in the browser to restore photographs on',
    'compare': 'one table of test results, or of folders of images against their ground truth',
    'schema': 'print the JSON Schema of the option files, for editors',
}


class Command(Protocol):
    """A module of this package that is a command; ``INTERRUPTED`` says what Ctrl-C leaves, where it is there."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments and the description."""

    def run(self, args: argparse.Namespace) -> int:
        """Run the command and return the exit code."""


def command(name: str) -> Command:
    """Return the module of a command, importing it."""
    return cast(Command, importlib.import_module(f'{__package__}.{name}'))


def call(name: str, arguments: Sequence[str], called: str) -> int:
    """Run a command and return the exit code; the arguments that it does not take end the process, as argparse does.

    Args:
        name: One of :data:`COMMANDS`.
        arguments: Those behind its name.
        called: What the user has called, for the usage.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')  # names that are no text
    module = command(name)

    def work() -> int:
        parser = argparse.ArgumentParser(prog=called)
        module.add_arguments(parser)
        return module.run(_parsed(parser, arguments))

    return told(work, after_interruption=getattr(module, 'INTERRUPTED', ''))


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    args, left = parser.parse_known_args(arguments)
    if not left:
        return args
    try:
        return parser.parse_intermixed_args(arguments)  # files before and behind the options alike
    except TypeError:  # a command of several, as prepare
        parser.error(f"unrecognized arguments: {' '.join(left)}")


class Door(Protocol):
    """The function that ``python -m maxl_sr.NAME`` calls; without arguments it takes those of the process."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the command and return the exit code."""


def door(name: str) -> Door:
    """Return that function of a command."""
    def main(argv: Sequence[str] | None = None) -> int:
        return call(name, sys.argv[1:] if argv is None else argv, f'python -m maxl_sr.{name}')

    main.__doc__ = f'Run the command {name} with these arguments, or those of the process; return the exit code.'
    return main


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='maxl-sr', description='Image restoration that adapts to each photograph.')
    parser.add_argument('--version', action='version', version=f'maxl_sr {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``maxl-sr`` with these arguments, or those of the process; return the exit code.

    It is 0, 1 where some files could not be restored, 2 for a mistake, and 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] not in COMMANDS:
        _parser().parse_args(given[:1])  # which tells the help, the version or the mistake, and ends the process
        return 2
    return call(given[0], given[1:], f'maxl-sr {given[0]}')
