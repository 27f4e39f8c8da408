"""``maxl-sr prepare``: training and test data from the layouts of the official downloads."""

import argparse
import math
import os

from maxl_sr.errors import UserError
from maxl_sr.prepare.layouts import LAYOUTS
from maxl_sr.utils.files import check_length, path_argument

INTERRUPTED = 'the same command continues'
DESCRIPTION = """Training and test data from the layouts of the official downloads.

Writes what BasicSR's data sets read: ``OUT/gt`` (and ``OUT/lq`` for pairs) with 8-bit PNG tiles of equal file names,
or with ``--lmdb`` ``OUT/gt.lmdb`` and ``OUT/lq.lmdb``. Images are decoded as BasicSR does (OpenCV, ``IMREAD_COLOR``):
grey becomes three channels, 16 bits become 8, alpha is dropped. A tile is called ``NAME_s001.png`` after its place in
the grid (counted row by row from 1, so a dropped tile leaves a gap), a whole image (``--size 0``) ``NAME.png``;
characters of NAME other than letters, digits, ``_`` and ``-`` become ``_``, since a dot ends the key of an LMDB.

With ``--register`` the ground truth is moved onto the noisy image, with ``--match-light`` it gets its light; see
``docs/data.md``. ``OUT/manifest.json`` (``manifest_lmdb.json``) records what each image gave and what was done to
it; a second run does only what is missing.
"""


def _scene_list(text: str) -> list[str]:
    return [scene.strip() for scene in text.split(',') if scene.strip()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command, a parser a layout."""
    parser.description, parser.formatter_class = DESCRIPTION, argparse.RawDescriptionHelpFormatter
    layouts = parser.add_subparsers(dest='layout', required=True)
    for name, layout in LAYOUTS.items():
        sub = layouts.add_parser(name, help=layout.text, description=layout.text)
        sub.add_argument('root', type=path_argument, metavar='ROOT')
        sub.add_argument('-o', '--out', type=path_argument, required=True, metavar='OUT')
        if name == 'sr':
            sub.set_defaults(size=0, step=None)
        else:
            sub.add_argument('--size', type=int, default=layout.size, metavar='PX', help='side of a tile; '
                             '0: whole images; smaller images are kept whole (default: %(default)s)')
            sub.add_argument('--step', type=int, metavar='PX',
                             help=f'from tile to tile (default: {"half the" if name == "div2k" else "the"} size)')
        sub.add_argument('--lmdb', action='store_true', help='write LMDBs instead of folders')
        sub.add_argument('--jobs', type=int, default=os.cpu_count() or 1, metavar='N',
                         help='images at the same time (default: all cores)')
        if not layout.pairs:
            sub.set_defaults(max_shift=0.0, register=False, match_light=False)
        else:
            sub.add_argument('--max-shift', type=float, default=0.3 if name == 'polyu' else 0.0, metavar='PX',
                             help='drop tiles whose noisy and clean version are shifted by more; 0: keep all '
                                  '(default: %(default)s)')
            sub.add_argument('--register', action='store_true',
                             help='move the ground truth onto the noisy image by an affine field of sub-pixel shifts; '
                                  'images that cannot be registered are named and left out')
            sub.add_argument('--match-light', action='store_true',
                             help='give the ground truth the light of the noisy image: the smooth part of their '
                                  'difference')
        if name in ('sidd', 'gopro'):
            example, what = {'sidd': ('001', "the second field of the folder's name"),
                             'gopro': ('GOPR0374_11_00', 'sequences')}[name]
            sub.add_argument('--scenes', type=_scene_list, metavar=f'{example},…', help=f'only these scenes ({what})')
            sub.add_argument('--exclude-scenes', type=_scene_list, default=[], metavar=example,
                             help='all but these scenes')
        if name == 'polyu':
            sub.add_argument('--part', choices=('original', 'cropped'), default='original',
                             help='the full images or the official crops (default: %(default)s)')
            sub.add_argument('--split', type=path_argument, metavar='FILE',
                             help='JSON with the scene lists train and val (default: ROOT/split.json if there)')
            sub.add_argument('--subset', choices=('train', 'val', 'all'), default='all',
                             help='scenes of the split (default: %(default)s)')


def _check(args: argparse.Namespace) -> None:
    if args.size < 0:
        raise UserError(f'--size {args.size}: the tile size must be positive, or 0 for whole images.')
    if args.step is None:
        args.step = max(args.size // 2, 1) if args.layout == 'div2k' else args.size
    elif not 0 < args.step <= args.size:
        raise UserError(f'--step {args.step}: the step must be positive and at most the size, {args.size}.')
    if not 0 <= args.max_shift < math.inf:
        raise UserError(f'--max-shift {args.max_shift}: the limit must be a number of pixels, or 0 for none.')
    if args.jobs < 1:
        raise UserError(f'--jobs {args.jobs}: at least one is needed.')
    check_length(args.out, '-o ')
    for folder in (args.root, args.out):
        if not folder.is_dir() and (folder is args.root or folder.exists()):
            raise UserError(f'{folder} is not a folder.')


def prepared(args: argparse.Namespace) -> str:
    """Prepare the data and return the summary."""
    _check(args)

    import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
    from maxl_sr.prepare.making import make

    return make(args)


def run(args: argparse.Namespace) -> int:
    """Prepare the data and return the exit code; after Ctrl-C the same command continues."""
    print(prepared(args))
    return 0
