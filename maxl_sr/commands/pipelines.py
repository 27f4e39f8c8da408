"""What ``train`` and ``test`` share: the flags of BasicSR's pipelines."""

import argparse

from maxl_sr.policy import told_once
from maxl_sr.utils.packaged import find_option_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all flags of BasicSR's ``parse_options``, which itself is there only with torch."""
    parser.add_argument('-opt', required=True, metavar='FILE',
                        help='option file, or the name of one that comes with the package')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='by what several processes were started (default: %(default)s)')
    parser.add_argument('--auto_resume', action='store_true', help='go on from the last checkpoint of this name')
    parser.add_argument('--debug', action='store_true', help='run under another name, and tell and save more often')
    parser.add_argument('--local_rank', type=int, default=0, help='set by launchers')
    parser.add_argument('--force_yml', nargs='+', metavar='SECTION:KEY=VALUE',
                        help='change the option file, for example train:ema_decay=0.999')


def for_basicsr(args: argparse.Namespace) -> list[str]:
    """Return the arguments as BasicSR's parser takes them, after a look for the option file."""
    with told_once():
        find_option_file(args.opt)
    flags = [f'--{name}' for name in ('auto_resume', 'debug') if getattr(args, name)]
    forced = ['--force_yml', *args.force_yml] if args.force_yml else []
    return [f'-opt={args.opt}', f'--launcher={args.launcher}', f'--local_rank={args.local_rank}', *flags, *forced]
