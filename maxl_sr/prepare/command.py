"""Training and test data from the layouts of the official downloads: ``python -m maxl_sr.prepare --help``.

Writes what BasicSR's data sets read: ``OUT/gt`` (and ``OUT/lq`` for pairs) with 8-bit PNG tiles of equal file names,
or with ``--lmdb`` ``OUT/gt.lmdb`` and ``OUT/lq.lmdb``. Images are decoded as BasicSR does (OpenCV, ``IMREAD_COLOR``):
grey becomes three channels, 16 bits become 8, alpha is dropped. A tile is called ``NAME_s001.png`` after its place in
the grid (counted row by row from 1, so a dropped tile leaves a gap), a whole image (``--size 0``) ``NAME.png``;
characters of NAME other than letters, digits, ``_`` and ``-`` become ``_``, since a dot ends the key of an LMDB.

With ``--register`` the ground truth is moved onto the noisy image, with ``--match-light`` it gets its light; see
``docs/data.md``. ``OUT/manifest.json`` (``manifest_lmdb.json``) records what each image gave and what was done to
it; a second run does only what is missing.
"""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from PIL import Image

from maxl_sr.errors import UserError
from maxl_sr.prepare.outputs import Manifest, make_folders, make_lmdb
from maxl_sr.prepare.sources import LAYOUTS, LEGAL, Source, skipped
from maxl_sr.prepare.tiles import Cutting
from maxl_sr.utils.files import check_name, failure, path_argument, remove_partial_files, shown
from maxl_sr.utils.lock import locked


def _summary(sources: list[Source], manifest: Manifest, written: int, args: argparse.Namespace) -> str:
    entries = [manifest.done[source.name] for source in sources]
    kept, dropped = sum(len(e['tiles']) for e in entries), sum(e['dropped'] for e in entries)
    lines = [(f'{len(sources)} images: {written} tiles written, {kept - written} already there, '
              f'{dropped} dropped for misregistration.')]
    whole = sum(e['whole'] for e in entries)
    if whole:
        lines.append(f'{whole} of the images are smaller than {args.size} px and were kept whole.')
    others = skipped({path.parent for source in sources for path in source.paths()})
    if others:
        lines.append(f'{others} (formats that are not read here)')
    if args.register or args.match_light or args.command == 'burst':
        lines += _alignments(sources, manifest)
    if args.command == 'polyu':
        for scene in sorted({e['scene'] for e in entries}):
            mine = [e for e in entries if e['scene'] == scene]
            lines.append(f'  {scene}: {sum(len(e["tiles"]) for e in mine)} kept, '
                         f'{sum(e["dropped"] for e in mine)} dropped')
    return '\n'.join(lines)


def _alignments(sources: list[Source], manifest: Manifest) -> list[str]:
    """A line for each image whose ground truth was registered or matched, or could not be."""
    lines = []
    for source in sources:
        entry = manifest.done[source.name]
        told = entry.get('alignment', {})
        if 'refused' in entry:
            lines.append(f'  {source.name}: left out, cannot be registered: {entry["refused"]}')
        elif told:
            shift = (f'shift {told["shift_before"]:.2f} -> {told["shift_after"]:.2f} px, '
                     if 'shift_before' in told else '')
            lines.append(f'  {source.name}: {shift}PSNR {told["psnr_before"]:.2f} -> {told["psnr_after"]:.2f} dB')
    return lines


def _scene_list(text: str) -> list[str]:
    return [scene.strip() for scene in text.split(',') if scene.strip()]


def _parser() -> argparse.ArgumentParser:
    called = sys.argv[0] if sys.argv[0].startswith('maxl-sr ') else 'python -m maxl_sr.prepare'
    parser = argparse.ArgumentParser(prog=called, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, layout in LAYOUTS.items():
        sub = commands.add_parser(name, help=layout.text, description=layout.text)
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
    return parser


@contextmanager
def _large_images() -> Iterator[None]:
    """Let Pillow read images of any size: these are the user's own."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def run(argv: Sequence[str] | None = None) -> str:
    """Prepare the data as `argv` says and return the summary; a user's mistake raises `UserError`."""
    args = _parser().parse_args(argv)
    if args.size < 0:
        raise UserError(f'--size {args.size}: the tile size must be positive, or 0 for whole images.')
    if args.step is None:
        args.step = max(args.size // 2, 1) if args.command == 'div2k' else args.size
    elif not 0 < args.step <= args.size:
        raise UserError(f'--step {args.step}: the step must be positive and at most the size, {args.size}.')
    if not 0 <= args.max_shift < math.inf:
        raise UserError(f'--max-shift {args.max_shift}: the limit must be a number of pixels, or 0 for none.')
    if args.jobs < 1:
        raise UserError(f'--jobs {args.jobs}: at least one is needed.')
    for folder in (args.root, args.out):
        if not folder.is_dir() and (folder is args.root or folder.exists()):
            raise UserError(f'{folder} is not a folder.')
    with _large_images():
        return _prepare(args)


def _prepare(args: argparse.Namespace) -> str:
    sources = LAYOUTS[args.command].find(args)
    if not sources:
        others = skipped([args.root])
        raise UserError(f'No image for {args.command} was found in {args.root}.{others and f" ({others})"}')
    by_name: dict[str, Source] = {}
    for source in sources:
        if LEGAL.fullmatch(source.name) is None:
            raise UserError(f'{shown(source.gt)} leaves no name for its tiles; rename it.')
        if by_name.setdefault(source.name, source) is not source:
            raise UserError(f'{source.gt} and {by_name[source.name].gt.name} would both give tiles called '
                            f'{source.name}; rename one of them.')
    options = {'command': args.command, 'size': args.size, 'step': args.step, 'max_shift': args.max_shift,
               'register': args.register, 'match_light': args.match_light}
    if args.lmdb:
        check_name(args.out, '-o ')  # LMDB takes no other
    with locked(args.out / 'manifest'):
        return _write(args, sources, Manifest(args.out, options, args.lmdb))


def _write(args: argparse.Namespace, sources: list[Source], manifest: Manifest) -> str:
    remove_partial_files([args.out])
    gone = sorted(manifest.done.keys() - {source.name for source in sources})
    if gone:  # scenes that are held out now must not linger from an earlier run
        raise UserError(f'{args.out} holds tiles of {gone[0]}, which is not among the images now; '
                        'use another -o or delete the folder.')
    cutting = Cutting(args.size, args.step, args.max_shift, args.register, args.match_light, args.command == 'sr')
    make = make_lmdb if args.lmdb else make_folders
    written = make(args.out, sources, manifest, args.root, cutting, args.jobs)
    return _summary(sources, manifest, written, args)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: 0, or 2 after a user's mistake, or 130 after Ctrl-C (the same command continues)."""
    try:
        print(run(argv))
    except UserError as err:
        print(f'error: {shown(str(err))}', file=sys.stderr)
        return 2
    except OSError as err:
        print(f'error: {failure(err)}', file=sys.stderr)
        return 2
    except MemoryError:
        print('error: there is not enough memory', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted; the same command continues', file=sys.stderr)
        return 130
    return 0

