"""What ``denoise`` and ``restore`` share: files and folders in, restored files out."""

import argparse
from typing import Any

from maxl_sr.commands.arguments import add_computing, count, positive_number
from maxl_sr.formats.endings import QUALITY, suffixes
from maxl_sr.shard import parse_shard
from maxl_sr.utils.files import path_argument
from maxl_sr.utils.packaged import find_option_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of files, and of the adaptation to each."""
    parser.epilog = f'JPEG, WebP, AVIF and HEIC are written with quality {QUALITY}.'
    parser.add_argument('inputs', nargs='+', type=path_argument, metavar='PHOTO_OR_FOLDER',
                        help=f"image files ({', '.join(suffixes())}), and folders, with all that is below them")
    parser.add_argument('-o', '--output', type=path_argument, required=True, metavar='OUT',
                        help='folder of the results, under the names of the inputs; or a file, for one image')
    parser.add_argument('--steps', type=count, help='steps of adaptation at most; 0: none (default: of the preset)')
    parser.add_argument('--lr', type=positive_number, help='step size (default: of the preset)')
    parser.add_argument('--no-guard', action='store_true', help='take all steps, whatever the guard would say')
    parser.add_argument('--tile', type=count, metavar='PIXELS',
                        help='side of the tiles of large images (default: by the free memory)')
    add_computing(parser)
    parser.add_argument('--report', type=path_argument, metavar='FOLDER',
                        help='write report.csv and index.html there: before, after, mask, objective of every image')
    parser.add_argument('--overwrite', action='store_true', help='restore what is in OUT already once more')
    parser.add_argument('--shard', metavar='I/N',
                        help='restore one of N shares of the images, I from 1 to N, for as many machines; auto: as an '
                             'array of Slurm or an indexed job of Kubernetes says')


def restore(args: argparse.Namespace, preset: str) -> int:
    """Restore the files and return the exit code.

    Args:
        args: The arguments; ``opt`` names an option file in place of the preset.
        preset: The network.
    """
    from maxl_sr.work_list import work_list

    shard = None if args.shard is None else parse_shard(args.shard)
    work = work_list(args.inputs, args.output, args.report)
    if args.opt is not None:
        find_option_file(args.opt)
    folder = args.report
    if shard is not None:
        work = [job for job in work if shard.has(job.name)]
        # Of its own: two processes must not write to one table
        folder = None if folder is None else folder / f'shard-{shard.number}-of-{shard.total}'

    import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
    from maxl_sr.report import Report
    from maxl_sr.restore_files import restore_files
    from maxl_sr.restorer import Restorer

    report = None if folder is None else Report(folder)
    if args.opt is not None:
        restorer = Restorer.from_options(args.opt, device=args.device, precision=args.precision)
    else:
        restorer = Restorer.from_pretrained(preset, args.device, args.precision)
    options: dict[str, Any] = {'steps': args.steps, 'lr': args.lr, 'tile': args.tile}
    restorer.check(**options)
    return restore_files(restorer, work, {**options, 'guard': not args.no_guard}, args.overwrite, report)
