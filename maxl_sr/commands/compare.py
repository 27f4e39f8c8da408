"""``maxl-sr compare``: one table of test results, or of folders of images against their ground truth."""

import argparse
import sys

from maxl_sr.errors import UserError
from maxl_sr.utils.files import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = 'One Markdown table of test results, or of folders of images against their ground truth.'
    parser.add_argument('folders', nargs='+', type=path_argument, metavar='FOLDER',
                        help='results/NAME of tests; with --gt folders of images')
    parser.add_argument('--gt', type=path_argument, help='folder of the ground truth; images are matched by name')
    parser.add_argument('--crop-border', type=int, default=0, metavar='PIXELS',
                        help='with --gt: left out at every side')
    parser.add_argument('--y-channel', action='store_true', help='with --gt: compare the luma')
    parser.add_argument('--matched', action='store_true',
                        help='with --gt: also against the ground truth in the light of the images of the first FOLDER, '
                             'the noisy ones')


def run(args: argparse.Namespace) -> int:
    """Print the table and return the exit code: 1 where a test did not come to its end."""
    if args.gt is None and (args.crop_border or args.y_channel or args.matched):
        raise UserError('--crop-border, --y-channel and --matched need --gt')
    if args.crop_border < 0:
        raise UserError(f'--crop-border must be at least 0, not {args.crop_border}')
    missing: list[str] = []
    if args.gt is None:
        from maxl_sr.compare.result_tables import results

        table, missing = results(args.folders)
    else:
        import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
        from maxl_sr.compare.image_tables import images

        table = images(args.folders, args.gt, args.crop_border, args.y_channel, args.matched)
    print(table)
    for sentence in missing:
        print(f'error: {sentence}', file=sys.stderr)
    return 1 if missing else 0
