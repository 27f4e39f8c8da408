"""Which images there are: the layouts of the official downloads, pairs and bursts of one's own."""

import argparse
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from maxl_sr.data.data_util import EXTENSIONS
from maxl_sr.errors import UserError
from maxl_sr.folders import is_image
from maxl_sr.utils.files import check_file

LEGAL = re.compile(r'[\w-]+', re.ASCII)  # names of tiles
LONGEST = 240  # of these: a file system takes 255, with number and ending


class Original(NamedTuple):
    """One image, or noisy/clean pair, to cut.

    `more` are further shots of the scene: the ground truth is the mean of `gt` and them.
    """

    name: str
    gt: Path
    lq: Path | None = None
    scene: str = ''
    more: tuple[Path, ...] = ()

    def paths(self) -> list[Path]:
        """All its files."""
        return list(dict.fromkeys(path for path in (self.gt, self.lq, *self.more) if path))

    def files(self) -> list[list[Any]]:
        """Name, size and time of the files, by which a later run sees whether they have changed."""
        stats = [(path.name, path.stat()) for path in self.paths()]
        return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f'{folder} is not a folder.')
    return sorted(p for p in folder.iterdir()
                  if p.suffix.lower() in EXTENSIONS and not p.name.startswith('.') and p.is_file())


def skipped(folders: Iterable[Path]) -> str:
    """Return in words which images in these folders are of formats that are not read here; nothing without any."""
    found = Counter(path.suffix.lower() for folder in folders for path in folder.iterdir()
                    if is_image(path) and path.suffix.lower() not in EXTENSIONS and not path.name.startswith('.'))
    return 'skipped: ' + ', '.join(f'{number} {suffix}' for suffix, number in sorted(found.items())) if found else ''


def _name(stem: str) -> str:
    """A name for tiles: BasicSR's LMDBs want ASCII, and a dot would end the key."""
    ascii_only = ''.join(letter if letter.isascii() else f'u{ord(letter):04x}' for letter in stem)
    return re.sub(r'[^\w-]', '_', ascii_only, flags=re.ASCII)


def _pairs(folder: Path, pattern: str, noisy: str) -> list[tuple[str, Path, Path]]:
    """(name, gt, lq) of the files whose stem matches `pattern`; its group `kind` tells noisy from clean."""
    found: dict[bool, dict[str, Path]] = {True: {}, False: {}}
    for path in _images(folder):
        match = re.fullmatch(pattern, path.stem, re.IGNORECASE)
        if match:
            group = found[match['kind'].lower() == noisy]
            name = (match['before'] + match['after']).strip('_')
            if name in group:
                raise UserError(f'{path} and {group[name].name} are the same image by name; keep one of them.')
            group[name] = path
    lq, gt = found[True], found[False]
    for name in sorted(lq.keys() ^ gt.keys()):
        if name in lq:
            raise UserError(f'{lq[name]} has no clean partner in {folder}.')
        raise UserError(f'{gt[name]} has no noisy partner in {folder}.')
    return [(name, gt[name], lq[name]) for name in sorted(lq)]


def _real_mean(folder: Path) -> list[tuple[str, Path, Path]]:
    return _pairs(folder, r'(?P<before>.+)_(?P<kind>real|mean)(?P<after>)', 'real')


def _div2k(args: argparse.Namespace) -> list[Original]:
    return [Original(_name(path.stem), path) for path in _images(args.root)]


def _nam(args: argparse.Namespace) -> list[Original]:
    scenes = sorted(args.root.resolve().rglob('*.mat'))  # the official download: CAMERA/ISO/SCENE.mat
    if scenes:
        if _images(args.root):
            raise UserError(f'{args.root} holds MAT files and images; keep the full scenes and the crops apart.')
        names = ['_'.join(path.relative_to(args.root.resolve()).with_suffix('').parts) for path in scenes]
        return [Original(_name(name), path, path) for name, path in zip(names, scenes)]
    return [Original(_name(name), gt, lq) for name, gt, lq in _real_mean(args.root)]


def _sidd(args: argparse.Namespace) -> list[Original]:
    data = args.root / 'Data' if (args.root / 'Data').is_dir() else args.root
    sources = []
    for folder in sorted(p for p in data.iterdir() if p.is_dir()):
        fields = folder.name.split('_')
        for name, gt, lq in _pairs(folder, r'(?P<before>.*?)(?P<kind>gt|noisy)_srgb(?P<after>_\d+)', 'noisy'):
            # Medium puts the instance number, the folder's first field, before each file name.
            number = re.sub(r'^\d+_+', '', name)
            sources.append(Original(_name(f'{folder.name}_{number}'), gt, lq, fields[1] if len(fields) > 1 else ''))
    return _of_scenes(sources, args, data)


def _of_scenes(sources: list[Original], args: argparse.Namespace, root: Path) -> list[Original]:
    """The sources of the scenes that --scenes and --exclude-scenes leave."""
    known = {source.scene for source in sources}
    for scene in [*(args.scenes or []), *args.exclude_scenes]:
        if sources and scene not in known:
            raise UserError(f'{root} has no scene {scene!r}; it has {", ".join(sorted(known))}.')
    wanted = (known if args.scenes is None else set(args.scenes)) - set(args.exclude_scenes)
    if sources and not wanted:
        raise UserError(f'--scenes and --exclude-scenes leave no scene of {root}.')
    return [source for source in sources if source.scene in wanted]


def _sr(args: argparse.Namespace) -> list[Original]:
    pairs = _pairs(args.root, r'(?P<before>.+)_(?P<kind>LR|HR)(?P<after>)', 'lr')
    scales: dict[int, Path] = {}
    for _, gt, lq in pairs:
        try:
            with Image.open(gt) as large, Image.open(lq) as small:
                scales[large.width // small.width] = lq
        except Exception:  # the decoders of each format have their own; told when it is read
            continue
    if len(scales) > 1:
        a, b = sorted(scales)[:2]
        raise UserError(f'{args.root} holds pairs of scale {a} ({scales[a].name}) and of scale {b} ({scales[b].name}); '
                        'keep each scale in a folder of its own.')
    if scales and max(scales) < 2:
        raise UserError(f'{scales[max(scales)]} is not smaller than its clean partner.')
    return [Original(_name(name), gt, lq) for name, gt, lq in pairs]


def _gopro(args: argparse.Namespace) -> list[Original]:
    sources = []
    folders = sorted(args.root.resolve().rglob('blur'))  # the official download: SEQUENCE/blur, SEQUENCE/sharp
    parts = sorted({folder.parents[1].name for folder in folders})
    if len(parts) > 1:
        raise UserError(f'{args.root} holds the sequences of {" and ".join(parts)}; name one of these folders, or '
                        'training and test images would be mixed.')
    for blur in folders:
        sharp = blur.with_name('sharp')
        partners = {path.name: path for path in _images(sharp)}
        for lq in _images(blur):
            if lq.name not in partners:
                raise UserError(f'{lq} has no clean partner in {sharp}.')
            sequence = blur.parent.name
            sources.append(Original(_name(f'{sequence}_{lq.stem}'), partners[lq.name], lq, sequence))
    if not sources:  # single frames: NAME and NAME_gt, whose first three fields are the sequence
        for name, gt, lq in _pairs(args.root, r'(?P<before>.+?)(?P<kind>_gt|)(?P<after>)', ''):
            sources.append(Original(_name(name), gt, lq, '_'.join(name.split('_')[:3])))
    return _of_scenes(sources, args, args.root)


def _polyu(args: argparse.Namespace) -> list[Original]:
    folder = args.root / ('OriginalImages' if args.part == 'original' else 'CroppedImages')
    file = args.split or args.root / 'split.json'
    subset: dict[str, str] = {}  # scene -> train or val
    stems: dict[str, str] = {}  # how the scene's files start -> scene
    if args.split or args.subset != 'all' or file.is_file():
        if not os.path.lexists(file):
            raise UserError(f'{file}: no such split file; give --split FILE, or use --subset all.')
        check_file(file)
        try:
            split = json.loads(file.read_text(encoding='utf-8'))
            for part in ('train', 'val'):
                if not isinstance(split[part], list):
                    raise TypeError(part)
                for scene in split[part]:
                    if subset.setdefault(scene, part) != part:
                        raise UserError(f'{file} has the scene {scene} in both train and val.')
            crops = split.get('crops', {}) if args.part == 'cropped' else {}
            stems = {crops.get(scene, scene): scene for scene in subset}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            if isinstance(err, UserError):
                raise
            raise UserError(f'{file} is not a split file with the lists "train" and "val".') from err
    sources = []
    for name, gt, lq in _real_mean(folder):
        # The longest stem wins: one scene's stem may be the beginning of another's.
        stem = max((stem for stem in stems if f'{name}_'.startswith(f'{stem}_')), key=len, default=None)
        if stem is None and args.subset != 'all':
            raise UserError(f'{lq} belongs to no scene of {file}.')
        scene = stems[stem] if stem is not None else re.sub(r'_+\d+$', '', name)
        if args.subset in ('all', subset.get(scene)):
            sources.append(Original(_name(name), gt, lq, scene))
    return sources


def _own_pairs(args: argparse.Namespace) -> list[Original]:
    folders = [args.root / kind for kind in ('gt', 'lq')]
    if not all(folder.is_dir() for folder in folders):
        pairs = _pairs(args.root, r'(?P<before>.+)_(?P<kind>noisy|clean)(?P<after>)', 'noisy')
        return [Original(_name(name), gt, lq, name) for name, gt, lq in pairs]
    clean: dict[str, Path] = {}
    noisy: dict[str, Path] = {}
    for found, folder in zip((clean, noisy), folders):
        for path in _images(folder):
            if found.setdefault(path.stem, path) is not path:
                raise UserError(f'{path} and {found[path.stem].name} are the same image by name; keep one of them.')
    for stem in sorted(clean.keys() ^ noisy.keys()):
        have, lacking = (clean, folders[1]) if stem in clean else (noisy, folders[0])
        raise UserError(f'{have[stem]} has no partner called {stem} in {lacking}.')
    return [Original(_name(stem), clean[stem], noisy[stem], stem) for stem in sorted(clean)]


def _burst(args: argparse.Namespace) -> list[Original]:
    folders = sorted(path for path in args.root.iterdir() if path.is_dir()) or [args.root.resolve()]
    sources = []
    for folder in folders:
        shots = _images(folder)
        if len(shots) < 2:
            raise UserError(f'{folder} holds {len(shots)} image{"s" * (len(shots) != 1)}; a burst is two or more.')
        sources.append(Original(_name(folder.name), shots[1], shots[0], folder.name, tuple(shots[2:])))
    return sources


FINDERS: dict[str, Callable[[argparse.Namespace], list[Original]]] = {
    'div2k': _div2k, 'sidd': _sidd, 'polyu': _polyu, 'nam': _nam, 'pairs': _own_pairs, 'burst': _burst, 'sr': _sr,
    'gopro': _gopro}


def find(args: argparse.Namespace) -> list[Original]:
    """Return the images of the layout and folder that the arguments name, but for the scenes that they leave out.

    Raises:
        UserError: The folder is not of that layout.
    """
    return FINDERS[args.layout](args)
