"""From a folder of images to a data set: what is there, what is done already, and what there is to tell."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from maxl_sr.errors import UserError
from maxl_sr.prepare.outputs import Manifest, make_folders, make_lmdb
from maxl_sr.prepare.sources import LEGAL, LONGEST, Original, find, skipped
from maxl_sr.prepare.tiles import Cutting
from maxl_sr.utils.files import check_name, remove_partial_files, shown
from maxl_sr.utils.lock import locked


def _summary(sources: list[Original], manifest: Manifest, written: int, args: argparse.Namespace) -> str:
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
    if args.register or args.match_light or args.layout == 'burst':
        lines += _alignments(sources, manifest)
    if args.layout == 'polyu':
        for scene in sorted({e['scene'] for e in entries}):
            mine = [e for e in entries if e['scene'] == scene]
            lines.append(f'  {scene}: {sum(len(e["tiles"]) for e in mine)} kept, '
                         f'{sum(e["dropped"] for e in mine)} dropped')
    return '\n'.join(lines)


def _alignments(sources: list[Original], manifest: Manifest) -> list[str]:
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


@contextmanager
def _large_images() -> Iterator[None]:
    """Let Pillow read images of any size: these are the user's own."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def make(args: argparse.Namespace) -> str:
    """Prepare the data as the arguments of the command say and return the summary.

    Raises:
        UserError: The folder is not of the layout, or the output belongs to something else.
    """
    with _large_images():
        return _prepare(args)


def _prepare(args: argparse.Namespace) -> str:
    sources = find(args)
    if not sources:
        others = skipped([args.root])
        raise UserError(f'No image for {args.layout} was found in {args.root}.{others and f" ({others})"}')
    by_name: dict[str, Original] = {}
    for source in sources:
        if LEGAL.fullmatch(source.name) is None:
            raise UserError(f'{shown(source.gt)} leaves no name for its tiles; rename it.')
        if len(source.name) > LONGEST:
            raise UserError(f'{shown(source.gt)} gives its tiles a name of {len(source.name)} characters, more than '
                            f'{LONGEST}; rename it.')
        if by_name.setdefault(source.name, source) is not source:
            raise UserError(f'{source.gt} and {by_name[source.name].gt.name} would both give tiles called '
                            f'{source.name}; rename one of them.')
    options = {'command': args.layout, 'size': args.size, 'step': args.step, 'max_shift': args.max_shift,
               'register': args.register, 'match_light': args.match_light}
    if args.lmdb:
        check_name(args.out, '-o ')  # LMDB takes no other
    with locked(args.out / 'manifest'):
        return _write(args, sources, Manifest(args.out, options, args.lmdb))


def _write(args: argparse.Namespace, sources: list[Original], manifest: Manifest) -> str:
    remove_partial_files([args.out])
    gone = sorted(manifest.done.keys() - {source.name for source in sources})
    if gone:  # scenes that are held out now must not linger from an earlier run
        raise UserError(f'{args.out} holds tiles of {gone[0]}, which is not among the images now; '
                        'use another -o or delete the folder.')
    cutting = Cutting(args.size, args.step, args.max_shift, args.register, args.match_light, args.layout == 'sr')
    make = make_lmdb if args.lmdb else make_folders
    written = make(args.out, sources, manifest, args.root, cutting, args.jobs)
    return _summary(sources, manifest, written, args)
