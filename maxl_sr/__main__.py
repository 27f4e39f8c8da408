"""The command line: ``maxl-sr denoise PHOTO_OR_FOLDER… -o OUT`` and the rest; ``python -m maxl_sr`` is the same."""

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from maxl_sr import compare, export, prepare, test, train
from maxl_sr.photo import QUALITY, SUFFIXES
from maxl_sr.report import Report
from maxl_sr.restore_files import jobs, restore_files
from maxl_sr.restorer import PRESETS, Restorer

TASKS = {'sr2': 'sr_x2', 'sr4': 'sr_x4', 'deblur': 'deblur_motion'}


def _extra(module: str, name: str) -> Callable[[], int]:
    """Return the command of a module whose libraries come with the extra `name`."""
    def run() -> int:
        try:
            return int(importlib.import_module(module).main())
        except ModuleNotFoundError as error:
            print(f"error: there is no {error.name}; maxl-sr {name} needs pip install 'maxl_sr[{name}]'",
                  file=sys.stderr)
            return 2

    return run


OTHERS: dict[str, tuple[Callable[[], int], str]] = {
    'train': (train.main, 'train a model from an option file, as python -m maxl_sr.train'),
    'test': (test.main, 'test a model from an option file, as python -m maxl_sr.test'),
    'prepare': (prepare.main, 'make data sets of the official downloads, as python -m maxl_sr.prepare'),
    'export': (export.main, 'write a network as ONNX, safetensors or checkpoint, for other programs'),
    'web': (_extra('maxl_sr.web', 'web'), 'a page in the browser to restore photographs on'),
    'compare': (compare.main, 'one table of test results, or of folders of images against their ground truth'),
}


def positive_number(text: str) -> float:
    """Return an argument that must be greater than 0; argparse names it by this function."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f'must be greater than 0, not {text}')
    return value


def count(text: str) -> int:
    """Return an argument that must be an integer of at least 0; argparse names it by this function."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'must be at least 0, not {text}')
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='maxl-sr', description='Image restoration that adapts to each photograph.')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('inputs', nargs='+', type=Path, metavar='PHOTO_OR_FOLDER',
                        help=f"image files ({', '.join(SUFFIXES)}), and folders, with all that is below them")
    common.add_argument('-o', '--output', type=Path, required=True, metavar='OUT',
                        help='folder of the results, under the names of the inputs; or a file, for one image')
    common.add_argument('--steps', type=count, help='steps of adaptation at most; 0: none (default: of the preset)')
    common.add_argument('--lr', type=positive_number, help='step size (default: of the preset)')
    common.add_argument('--no-guard', action='store_true', help='take all steps, whatever the guard would say')
    common.add_argument('--tile', type=count, metavar='PIXELS',
                        help='side of the tiles of large images (default: by the free memory)')
    common.add_argument('--device', default='auto', help='cpu, cuda, … (default: a GPU where there is one)')
    common.add_argument('--report', type=Path, metavar='FOLDER',
                        help='write report.csv and index.html there: before, after, mask, objective of every image')
    common.add_argument('--overwrite', action='store_true', help='restore what is in OUT already once more')
    note = f'JPEG and WebP are written with quality {QUALITY}.'
    denoise = commands.add_parser('denoise', parents=[common], help='restore noisy photographs', epilog=note)
    restore = commands.add_parser('restore', parents=[common], help='enlarge or sharpen photographs', epilog=note)
    for command, presets in ((denoise, [name for name in PRESETS if not name.startswith(('sr_', 'deblur_'))]),
                             (restore, list(PRESETS))):
        choice = command.add_mutually_exclusive_group(required=command is restore)
        if command is restore:
            choice.add_argument('--task', choices=TASKS)
        choice.add_argument('--preset', choices=presets, default='fast' if command is denoise else None)
        choice.add_argument('-opt', metavar='FILE', help="option file of a test with a network of one's own")
    for name, (_, text) in OTHERS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def main() -> int:
    """Run the command line; return the exit code: 2 for a mistake, 1 where a file could not be restored."""
    if len(sys.argv) > 1 and sys.argv[1] in OTHERS:
        name = sys.argv.pop(1)
        sys.argv[0] = f'maxl-sr {name}'
        return OTHERS[name][0]()
    parser = _parser()
    args = parser.parse_args()
    try:
        work = jobs(args.inputs, args.output, args.report)
        if args.opt is not None:
            restorer = Restorer.from_options(args.opt, device=args.device)
        else:
            restorer = Restorer.from_pretrained(args.preset or TASKS[args.task], args.device)
        options = {'steps': args.steps, 'lr': args.lr, 'tile': args.tile}
        restorer.check(**options)
        report = None if args.report is None else Report(args.report)
        return restore_files(restorer, work, {**options, 'guard': not args.no_guard}, args.overwrite, report)
    except ValueError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
