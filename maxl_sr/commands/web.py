"""``maxl-sr web``: a page in the browser to restore photographs on."""

import argparse

from maxl_sr.commands.arguments import add_computing
from maxl_sr.errors import UserError
from maxl_sr.web.limits import Limits, limits_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    usual = Limits()
    parser.description = 'Restore photographs on a page in the browser.'
    parser.add_argument('--host', default='127.0.0.1',
                        help='address to listen on; 0.0.0.0: all, so that others can use it (default: %(default)s)')
    parser.add_argument('--port', type=int, default=7860, help='(default: %(default)s)')
    parser.add_argument('--open', action='store_true', help='open the page in the browser')
    add_computing(parser)
    parser.add_argument('--max-megapixels', type=float, default=usual.megapixels, metavar='MP',
                        help='largest image (default: %(default)s)')
    parser.add_argument('--max-file-size', type=float, default=usual.file_size, metavar='MB',
                        help='largest file (default: %(default)s)')
    parser.add_argument('--queue', type=int, default=usual.queue, help='images that may wait (default: %(default)s)')
    parser.add_argument('--parallel', type=int, default=usual.parallel,
                        help='images that are computed at a time (default: %(default)s)')
    parser.add_argument('--max-uploads', type=float, default=usual.uploads, metavar='MB',
                        help='of one visitor on the disk at a time (default: %(default)s)')
    parser.add_argument('--allowed-host', action='append', default=[], metavar='NAME',
                        help='another name under which browsers may ask for the page, that of a proxy for one')


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C and return the exit code."""
    limits = limits_of(args)

    import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
    try:
        from maxl_sr.web.server import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split('.')[0] == 'maxl_sr':
            raise
        raise UserError(f"there is no {error.name}; maxl-sr web needs pip install 'maxl_sr[web]'") from error
    return serve(args, limits)
