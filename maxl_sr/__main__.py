"""The command line: ``maxl-sr denoise PHOTO_OR_FOLDER… -o OUT`` and the rest; ``python -m maxl_sr`` is the same."""

import argparse
import importlib
import math
import sys
from typing import Any

from maxl_sr import __version__
from maxl_sr.formats.endings import QUALITY, suffixes
from maxl_sr.presets import PRESETS
from maxl_sr.utils.files import path_argument

TASKS = {'sr2': 'sr_x2', 'sr4': 'sr_x4', 'deblur': 'deblur_motion'}
# Module, what it is for, and the extra that its libraries come with
OTHERS: dict[str, tuple[str, str, str | None]] = {
    'train': ('maxl_sr.train', 'train a model from an option file, as python -m maxl_sr.train', None),
    'test': ('maxl_sr.test', 'test a model from an option file, as python -m maxl_sr.test', None),
    'prepare': ('maxl_sr.prepare', 'make data sets of the official downloads, as python -m maxl_sr.prepare', None),
    'export': ('maxl_sr.export', 'write a network as ONNX, safetensors or checkpoint, for other programs', None),
    'web': ('maxl_sr.web', 'a page in the browser to restore photographs on', 'web'),
    'compare': ('maxl_sr.compare', 'one table of test results, or of folders of images against their ground truth',
                None),
    'schema': ('maxl_sr.schema', 'print the JSON Schema of the option files, for editors', None),
}


def _run_other(name: str) -> int:
    module, _, extra = OTHERS[name]
    if name != 'schema':  # which reads a file alone
        import maxl_sr.register  # noqa: F401  (before anything of BasicSR)

    try:
        return int(importlib.import_module(module).main())
    except ModuleNotFoundError as error:
        if extra is None:
            raise
        print(f"error: there is no {error.name}; maxl-sr {name} needs pip install 'maxl_sr[{extra}]'", file=sys.stderr)
        return 2


def positive_number(text: str) -> float:
    """Return an argument that must be greater than 0; argparse names it by this function."""
    value = float(text)
    if not 0 < value < math.inf:
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
    parser.add_argument('--version', action='version', version=f'maxl_sr {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('inputs', nargs='+', type=path_argument, metavar='PHOTO_OR_FOLDER',
                        help=f"image files ({', '.join(suffixes())}), and folders, with all that is below them")
    common.add_argument('-o', '--output', type=path_argument, required=True, metavar='OUT',
                        help='folder of the results, under the names of the inputs; or a file, for one image')
    common.add_argument('--steps', type=count, help='steps of adaptation at most; 0: none (default: of the preset)')
    common.add_argument('--lr', type=positive_number, help='step size (default: of the preset)')
    common.add_argument('--no-guard', action='store_true', help='take all steps, whatever the guard would say')
    common.add_argument('--tile', type=count, metavar='PIXELS',
                        help='side of the tiles of large images (default: by the free memory)')
    common.add_argument('--device', default='auto', help='cpu, cuda, … (default: a GPU where there is one)')
    common.add_argument('--report', type=path_argument, metavar='FOLDER',
                        help='write report.csv and index.html there: before, after, mask, objective of every image')
    common.add_argument('--overwrite', action='store_true', help='restore what is in OUT already once more')
    common.add_argument('--shard', metavar='I/N',
                        help='restore one of N shares of the images, I from 1 to N, for as many machines; auto: as an '
                             'array of Slurm or an indexed job of Kubernetes says')
    note = f'JPEG, WebP, AVIF and HEIC are written with quality {QUALITY}.'
    denoise = commands.add_parser('denoise', parents=[common], help='restore noisy photographs', epilog=note)
    restore = commands.add_parser('restore', parents=[common], help='enlarge or sharpen photographs', epilog=note)
    for command, presets in ((denoise, [name for name, preset in PRESETS.items() if preset.task == 'denoise']),
                             (restore, list(PRESETS))):
        choice = command.add_mutually_exclusive_group(required=command is restore)
        if command is restore:
            choice.add_argument('--task', choices=TASKS)
        choice.add_argument('--preset', choices=presets, default='fast' if command is denoise else None)
        choice.add_argument('-opt', metavar='FILE', help="option file of a test with a network of one's own")
    for name, (_, text, _) in OTHERS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def _restore(args: argparse.Namespace) -> int:
    import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
    from maxl_sr.report import Report
    from maxl_sr.restore_files import jobs, restore_files
    from maxl_sr.restorer import Restorer
    from maxl_sr.shard import parse_shard

    shard = None if args.shard is None else parse_shard(args.shard)
    work = jobs(args.inputs, args.output, args.report)
    folder = args.report
    if shard is not None:
        work = [job for job in work if shard.has(job.name)]
        # Of its own: two processes must not write to one table
        folder = None if folder is None else folder / f'shard-{shard.number}-of-{shard.total}'
    report = None if folder is None else Report(folder)
    if args.opt is not None:
        restorer = Restorer.from_options(args.opt, device=args.device)
    else:
        restorer = Restorer.from_pretrained(args.preset or TASKS[args.task], args.device)
    options: dict[str, Any] = {'steps': args.steps, 'lr': args.lr, 'tile': args.tile}
    restorer.check(**options)
    return restore_files(restorer, work, {**options, 'guard': not args.no_guard}, args.overwrite, report)


def main() -> int:
    """Run the command line; return the exit code: 2 for a mistake, 1 where a file could not be restored."""
    # Modules are imported when they are needed: whatever takes time is within this
    try:
        if len(sys.argv) > 1 and sys.argv[1] in OTHERS:
            name = sys.argv.pop(1)
            sys.argv[0] = f'maxl-sr {name}'
            return _run_other(name)
        return _restore(_parser().parse_args())
    except (ValueError, OSError, MemoryError) as error:
        text = ' '.join(str(error).split()) or type(error).__name__
        print(f"error: {text.encode('utf-8', 'backslashreplace').decode()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
