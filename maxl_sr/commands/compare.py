"""``maxl-sr compare``: one table of test results, of folders of images, or of methods on the same images."""

import argparse
import json
import sys

from maxl_sr.errors import UserError
from maxl_sr.utils.files import path_argument

METHODS = 'bm3d, nlm-opencv, nlm-skimage, ffdnet, zs-n2n'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = ('One Markdown table: of test results; with --gt of folders of images against their ground '
                          'truth; with --methods of methods that restore the same images.')
    parser.add_argument('folders', nargs='*', type=path_argument, metavar='FOLDER',
                        help='results/NAME of tests; with --gt folders of images; with --methods one folder of noisy '
                             'images')
    parser.add_argument('--gt', type=path_argument, help='folder of the ground truth; images are matched by name')
    parser.add_argument('--crop-border', type=int, default=0, metavar='PIXELS',
                        help='with --gt: left out at every side')
    parser.add_argument('--y-channel', action='store_true', help='with --gt: compare the luma')
    parser.add_argument('--matched', action='store_true',
                        help='with --gt: also against the ground truth in the light of the images of the first FOLDER, '
                             'the noisy ones')
    parser.add_argument('--methods', nargs='+', metavar='METHOD',
                        help=f'presets, option files of tests, or {METHODS}; with strengths, as in ffdnet:10,15,25, '
                             'these alone are tried')
    parser.add_argument('--data', metavar='OPTIONS', help='with --methods: the test sets of this option file, in place '
                                                          'of FOLDER and --gt')
    parser.add_argument('--json', type=path_argument, metavar='FILE', help='with --methods: the figures of every image')


def _check(args: argparse.Namespace) -> None:
    if args.crop_border < 0:
        raise UserError(f'--crop-border must be at least 0, not {args.crop_border}')
    if args.methods:
        if args.crop_border or args.y_channel or args.matched:
            raise UserError('--crop-border, --y-channel and --matched are for folders, not for --methods')
        if args.data is None and (len(args.folders) != 1 or args.gt is None):
            raise UserError('--methods needs one FOLDER of noisy images and --gt, or --data')
        if args.data is not None and (args.folders or args.gt):
            raise UserError('--data is given, so FOLDER and --gt have no use')
        return
    if args.data is not None or args.json is not None:
        raise UserError('--data and --json need --methods')
    if not args.folders:
        raise UserError('name at least one FOLDER')
    if args.gt is None and (args.crop_border or args.y_channel or args.matched):
        raise UserError('--crop-border, --y-channel and --matched need --gt')


def run(args: argparse.Namespace) -> int:
    """Print the table and return the exit code: 1 where a test did not come to its end."""
    _check(args)
    if args.methods:
        print(_of_methods(args))
        return 0
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


def _of_methods(args: argparse.Namespace) -> str:
    """Measure the methods, and return their table."""
    import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
    from maxl_sr.compare.method_tables import as_json, measure, pairs_of_folders, pairs_of_options, table_of
    from maxl_sr.utils.files import check_folder, replacing, shown
    from maxl_sr.yardsticks import find_method

    if args.json is not None:
        check_folder(args.json.parent, '--json ')
        if args.json.is_dir():
            raise UserError(f'--json {shown(args.json)} is a folder; name a file')
    methods = [find_method(text) for text in args.methods]
    for number, method in enumerate(methods):
        if method.name in [other.name for other in methods[:number]]:
            raise UserError(f'--methods: {method.name} is there twice')
    data = pairs_of_options(args.data) if args.data else pairs_of_folders(args.folders[0], args.gt)
    tables = measure(methods, data)
    if args.json is not None:
        with replacing(args.json) as partial:
            partial.write_text(json.dumps(as_json(tables), indent=1) + '\n', encoding='utf-8')
    return table_of(tables)
