"""Training and test data from the layouts of the official downloads: ``python -m maxl_sr.prepare --help``.

Writes what BasicSR's data sets read: ``OUT/gt`` (and ``OUT/lq`` for pairs) with 8-bit PNG tiles of equal file names,
or with ``--lmdb`` ``OUT/gt.lmdb`` and ``OUT/lq.lmdb``. Images are decoded as BasicSR does (OpenCV, ``IMREAD_COLOR``):
grey becomes three channels, 16 bits become 8, alpha is dropped. A tile is called ``NAME_s001.png`` after its place in
the grid (counted row by row from 1, so a dropped tile leaves a gap), a whole image (``--size 0``) ``NAME.png``;
characters of NAME other than letters, digits, ``_`` and ``-`` become ``_``, since a dot ends the key of an LMDB.

``OUT/manifest.json`` (``manifest_lmdb.json``) records what each image gave; a second run does only what is missing.
"""

import argparse
import functools
import io
import json
import math
import os
import re
import shutil
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from basicsr.utils.lmdb_util import LmdbMaker
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from maxl_sr.data.data_util import EXTENSIONS
from maxl_sr.errors import UserError

DEFAULT_SIZE = {'div2k': 480, 'sidd': 512, 'polyu': 512, 'nam': 0, 'sr': 0, 'gopro': 0}
PNG_LEVEL = 1  # tiles are read far more often than stored
BLUR = 1.5  # before phase correlation: with less, noise makes outliers of many pixels; with more, texture is lost
SAVE_SECONDS = 5.0


class Source(NamedTuple):
    """One image or noisy/clean pair to cut."""

    name: str
    gt: Path
    lq: Path | None = None
    scene: str = ''

    def files(self) -> list[list[Any]]:
        """Name, size and time of the files, by which a later run sees whether they have changed."""
        stats = [(path.name, path.stat()) for path in (self.gt, self.lq) if path]
        return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


class Task(NamedTuple):
    """One image to cut; `folder` None: hand back encoded tiles. `have`: the files that need no writing.

    `smaller`: the degraded image may be smaller than the clean one by a whole number; then images stay whole.
    """

    source: Source
    size: int
    step: int
    max_shift: float
    folder: Path | None
    have: frozenset[str] = frozenset()
    smaller: bool = False


class Cut(NamedTuple):
    """What became of one source."""

    tiles: list[str]
    dropped: int
    whole: bool
    written: int
    encoded: list[tuple[str, dict[str, tuple[int, ...]], dict[str, bytes]]]


# ---- finding the images -------------------------------------------------------------------------------------------

def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f'{folder} is not a folder.')
    return sorted(p for p in folder.iterdir()
                  if p.suffix.lower() in EXTENSIONS and not p.name.startswith('.') and p.is_file())


def _name(stem: str) -> str:
    return re.sub(r'[^\w-]', '_', stem, flags=re.ASCII)


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


def _div2k(args: argparse.Namespace) -> list[Source]:
    return [Source(_name(path.stem), path) for path in _images(args.root)]


def _nam(args: argparse.Namespace) -> list[Source]:
    return [Source(_name(name), gt, lq) for name, gt, lq in _real_mean(args.root)]


def _sidd(args: argparse.Namespace) -> list[Source]:
    data = args.root / 'Data' if (args.root / 'Data').is_dir() else args.root
    sources = []
    for folder in sorted(p for p in data.iterdir() if p.is_dir()):
        fields = folder.name.split('_')
        for name, gt, lq in _pairs(folder, r'(?P<before>.*?)(?P<kind>gt|noisy)_srgb(?P<after>_\d+)', 'noisy'):
            # Medium puts the instance number, the folder's first field, before each file name.
            number = re.sub(r'^\d+_+', '', name)
            sources.append(Source(_name(f'{folder.name}_{number}'), gt, lq, fields[1] if len(fields) > 1 else ''))
    return _of_scenes(sources, args, data)


def _of_scenes(sources: list[Source], args: argparse.Namespace, root: Path) -> list[Source]:
    """The sources of the scenes that --scenes and --exclude-scenes leave."""
    known = {source.scene for source in sources}
    for scene in [*(args.scenes or []), *args.exclude_scenes]:
        if sources and scene not in known:
            raise UserError(f'{root} has no scene {scene!r}; it has {", ".join(sorted(known))}.')
    wanted = (known if args.scenes is None else set(args.scenes)) - set(args.exclude_scenes)
    if sources and not wanted:
        raise UserError(f'--scenes and --exclude-scenes leave no scene of {root}.')
    return [source for source in sources if source.scene in wanted]


def _sr(args: argparse.Namespace) -> list[Source]:
    pairs = _pairs(args.root, r'(?P<before>.+)_(?P<kind>LR|HR)(?P<after>)', 'lr')
    scales: dict[int, Path] = {}
    for _, gt, lq in pairs:
        try:
            with Image.open(gt) as large, Image.open(lq) as small:
                scales[large.width // small.width] = lq
        except UnidentifiedImageError:
            continue  # told when it is read
    if len(scales) > 1:
        a, b = sorted(scales)[:2]
        raise UserError(f'{args.root} holds pairs of scale {a} ({scales[a].name}) and of scale {b} ({scales[b].name}); '
                        'keep each scale in a folder of its own.')
    if scales and max(scales) < 2:
        raise UserError(f'{scales[max(scales)]} is not smaller than its clean partner.')
    return [Source(_name(name), gt, lq) for name, gt, lq in pairs]


def _gopro(args: argparse.Namespace) -> list[Source]:
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
            sources.append(Source(_name(f'{sequence}_{lq.stem}'), partners[lq.name], lq, sequence))
    if not sources:  # single frames: NAME and NAME_gt, whose first three fields are the sequence
        for name, gt, lq in _pairs(args.root, r'(?P<before>.+?)(?P<kind>_gt|)(?P<after>)', ''):
            sources.append(Source(_name(name), gt, lq, '_'.join(name.split('_')[:3])))
    return _of_scenes(sources, args, args.root)


def _polyu(args: argparse.Namespace) -> list[Source]:
    folder = args.root / ('OriginalImages' if args.part == 'original' else 'CroppedImages')
    file = args.split or args.root / 'split.json'
    subset: dict[str, str] = {}  # scene -> train or val
    stems: dict[str, str] = {}  # how the scene's files start -> scene
    if args.split or args.subset != 'all' or file.is_file():
        try:
            split = json.loads(file.read_text(encoding='utf-8'))
            for part in ('train', 'val'):
                for scene in split[part]:
                    if subset.setdefault(scene, part) != part:
                        raise UserError(f'{file} has the scene {scene} in both train and val.')
            crops = split.get('crops', {}) if args.part == 'cropped' else {}
            stems = {crops.get(scene, scene): scene for scene in subset}
        except FileNotFoundError:
            raise UserError(f'{file}: no such split file; give --split FILE, or use --subset all.') from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
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
            sources.append(Source(_name(name), gt, lq, scene))
    return sources


# ---- cutting one image (in a thread) --------------------------------------------------------------------------------

def _read(path: Path) -> np.ndarray:
    """8-bit BGR; Pillow is the judge of whether the file is complete, for OpenCV fills the missing rows with grey."""
    data = path.read_bytes()
    try:
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
        except UnidentifiedImageError:
            pass  # some kinds only OpenCV reads, 16-bit RGB TIFF for one
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, SyntaxError, ValueError, cv2.error, Image.DecompressionBombError) as err:
        raise UserError(f'{path} cannot be read as an image; it is damaged or truncated.') from err
    if pixels is None:
        raise UserError(f'{path} cannot be read as an image.')
    return pixels


def _starts(length: int, size: int, step: int) -> list[int]:
    """Where the tiles of one axis start; the last one ends at the border, as in BasicSR's ``extract_subimages``."""
    starts = list(range(0, length - size + 1, step))
    return starts if starts[-1] == length - size else [*starts, length - size]


_hanning = functools.lru_cache(maxsize=4)(cv2.createHanningWindow)


def shift_between(lq: np.ndarray, gt: np.ndarray) -> float:
    """Pixels by which two BGR images are shifted, from phase correlation; 0 where there is nothing to go by."""
    height, width = gt.shape[:2]
    if min(height, width) < 16:
        return 0.0
    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) for image in (lq, gt)]
    if min(float(np.ptp(image)) for image in grey) == 0:
        return 0.0
    first, second = (cv2.GaussianBlur(image, (0, 0), BLUR) for image in grey)
    (x, y), _ = cv2.phaseCorrelate(first, second, _hanning((width, height), cv2.CV_32F))
    return math.hypot(x, y)


def _write(path: Path, data: bytes) -> None:
    """Never leaves a half-written file under the final name."""
    partial = path.with_name(f'.{path.name}.partial')
    partial.write_bytes(data)
    os.replace(partial, path)


def _cut(task: Task) -> Cut:
    source, size, step, folder = task.source, task.size, task.step, task.folder
    images = {'gt': _read(source.gt)}
    if source.lq:
        images['lq'] = _read(source.lq)
        (h, w), (lq_h, lq_w) = (images[kind].shape[:2] for kind in ('gt', 'lq'))
        scale = max(h // lq_h, 1) if task.smaller else 1
        if (h // scale, w // scale) != (lq_h, lq_w):
            raise UserError(f'{source.lq} is {lq_w}x{lq_h}, but its clean partner {source.gt.name} is {w}x{h}.')
        images['gt'] = images['gt'][:lq_h * scale, :lq_w * scale]  # what is left beside whole pixels
    height, width = images['gt'].shape[:2]
    whole = min(height, width) < size
    if size == 0 or whole:
        boxes = [(slice(None), slice(None))]
    else:
        boxes = [(slice(y, y + size), slice(x, x + size))
                 for y in _starts(height, size, step) for x in _starts(width, size, step)]
    cut = Cut([], 0, whole, 0, [])
    dropped = written = 0
    for number, box in enumerate(boxes, 1):
        name = f'{source.name}_s{number:03d}' if size else source.name
        tile = {kind: np.ascontiguousarray(image[box]) for kind, image in images.items()}
        if source.lq and task.max_shift and shift_between(tile['lq'], tile['gt']) > task.max_shift:
            dropped += 1
            continue
        cut.tiles.append(name)
        data = {kind: cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])[1].tobytes()
                for kind, image in tile.items() if f'{kind}/{name}.png' not in task.have}
        if folder is None:
            cut.encoded.append((name, {kind: image.shape for kind, image in tile.items()}, data))
        else:
            for kind, png in data.items():
                _write(folder / kind / f'{name}.png', png)
        written += bool(data)
    return cut._replace(dropped=dropped, written=written)


def _cut_all(tasks: Iterable[Task], jobs: int) -> Generator[Cut, None, None]:
    """The results in order, never more than a few images ahead of the reader (LMDB tiles wait in memory).

    Threads, not processes: OpenCV and Pillow release the interpreter while they decode, encode and filter.
    """
    pool = ThreadPoolExecutor(jobs)
    try:
        rest = iter(tasks)
        waiting = deque(pool.submit(_cut, task) for task in islice(rest, 2 * jobs))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(_cut, task) for task in islice(rest, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


# ---- the manifest -------------------------------------------------------------------------------------------------

class Manifest:
    """What an output folder was made with (`options`), and the files and tiles of every finished image (`done`)."""

    def __init__(self, out: Path, options: dict[str, Any], lmdb: bool) -> None:
        self.path = out / ('manifest_lmdb.json' if lmdb else 'manifest.json')
        self.options = options
        self.done: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            try:
                content = json.loads(self.path.read_text(encoding='utf-8'))
                made_with, self.done = content['options'], content['images']
            except (ValueError, KeyError, TypeError) as err:
                raise UserError(f'{self.path} is damaged; delete the folder {out} or use another -o.') from err
            changed = [f'{key.replace("_", "-")} {made_with.get(key)} (now {value})'
                       for key, value in options.items() if made_with.get(key) != value]
            if changed:
                raise UserError(f'{out} was made with {", ".join(changed)}; use another -o or delete the folder.')
        else:
            for name in ('gt.lmdb', 'lq.lmdb') if lmdb else ('gt', 'lq'):
                if (out / name).is_dir() and any((out / name).iterdir()):
                    raise UserError(f'{out / name} holds files that this command did not write '
                                    f'(no {self.path.name}); use another -o or delete the folder.')

    def save(self) -> None:
        content = json.dumps({'options': self.options, 'images': self.done})
        _write(self.path, content.encode())

    def add(self, source: Source, files: list[list[Any]], cut: Cut) -> None:
        self.done[source.name] = {'files': files, 'scene': source.scene, 'tiles': cut.tiles,
                                  'dropped': cut.dropped, 'whole': cut.whole}


def _require_tiles(manifest: Manifest, args: argparse.Namespace) -> None:
    if not any(entry['tiles'] for entry in manifest.done.values()):
        raise UserError(f'All tiles of {args.root} were dropped: their noisy and clean versions are shifted by more '
                        f'than --max-shift {args.max_shift:g} px.')


def _make_folders(out: Path, sources: list[Source], manifest: Manifest, args: argparse.Namespace) -> int:
    kinds = ('gt', 'lq') if sources[0].lq else ('gt',)
    have = set()
    for kind in kinds:
        (out / kind).mkdir(parents=True, exist_ok=True)
        for path in (out / kind).iterdir():
            if path.suffix == '.partial':
                path.unlink()
            else:
                have.add(f'{kind}/{path.name}')
    manifest.save()  # before the first tile: from here on the folder is known as ours
    todo: list[tuple[list[list[Any]], Task]] = []
    for source in sources:
        files, entry = source.files(), manifest.done.get(source.name)
        if entry and entry['files'] != files:
            for tile in (f'{kind}/{name}.png' for kind in kinds for name in entry['tiles']):
                (out / tile).unlink(missing_ok=True)
            del manifest.done[source.name]
            entry = None
        wanted = {f'{kind}/{name}.png' for kind in kinds for name in entry['tiles']} if entry else set()
        if not entry or not wanted <= have:
            todo.append((files, Task(source, args.size, args.step, args.max_shift, out, frozenset(wanted & have),
                                     args.command == 'sr')))
    written, saved = 0, time.monotonic()
    try:
        with closing(_cut_all((task for _, task in todo), min(args.jobs, max(len(todo), 1)))) as cuts:
            for cut, (files, task) in zip(tqdm(cuts, total=len(todo), unit='image', disable=not todo), todo):
                manifest.add(task.source, files, cut)
                written += cut.written
                if time.monotonic() - saved > SAVE_SECONDS:
                    manifest.save()
                    saved = time.monotonic()
    finally:
        if todo:
            manifest.save()
    _require_tiles(manifest, args)
    return written


def _make_lmdb(out: Path, sources: list[Source], manifest: Manifest, args: argparse.Namespace) -> int:
    kinds = ('gt', 'lq') if sources[0].lq else ('gt',)
    final = {kind: out / f'{kind}.lmdb' for kind in kinds}
    partial = {kind: out / f'{kind}.partial.lmdb' for kind in kinds}
    for path in partial.values():
        shutil.rmtree(path, ignore_errors=True)
    files = [source.files() for source in sources]
    complete = [manifest.done.get(source.name, {}).get('files') for source in sources] == files
    if complete and all((path / 'data.mdb').is_file() for path in final.values()):
        return 0
    out.mkdir(parents=True, exist_ok=True)
    manifest.done = {}
    manifest.save()  # until the end, the manifest says that nothing is finished
    tasks = (Task(source, args.size, args.step, args.max_shift, None, smaller=args.command == 'sr')
             for source in sources)
    makers: dict[str, LmdbMaker] = {}
    written = 0
    try:
        for kind, path in partial.items():
            makers[kind] = LmdbMaker(str(path), batch=500, compress_level=PNG_LEVEL)
        with closing(_cut_all(tasks, min(args.jobs, len(sources)))) as cuts:
            for cut, source, stats in zip(tqdm(cuts, total=len(sources), unit='image'), sources, files):
                for name, shapes, data in cut.encoded:
                    for kind, png in data.items():
                        makers[kind].put(png, name, shapes[kind])
                manifest.add(source, stats, cut)
                written += cut.written
        _require_tiles(manifest, args)
        for maker in makers.values():
            maker.close()
    except BaseException:
        for maker in makers.values():
            maker.env.close()
            maker.txt_file.close()
        for path in partial.values():
            shutil.rmtree(path, ignore_errors=True)
        raise
    for kind in kinds:
        if final[kind].exists():
            shutil.rmtree(final[kind])
        os.rename(partial[kind], final[kind])
    manifest.save()
    return written


# ---- command line -------------------------------------------------------------------------------------------------

def _summary(sources: list[Source], manifest: Manifest, written: int, args: argparse.Namespace) -> str:
    entries = [manifest.done[source.name] for source in sources]
    kept, dropped = sum(len(e['tiles']) for e in entries), sum(e['dropped'] for e in entries)
    lines = [(f'{len(sources)} images: {written} tiles written, {kept - written} already there, '
              f'{dropped} dropped for misregistration.')]
    whole = sum(e['whole'] for e in entries)
    if whole:
        lines.append(f'{whole} of the images are smaller than {args.size} px and were kept whole.')
    if args.command == 'polyu':
        for scene in sorted({e['scene'] for e in entries}):
            mine = [e for e in entries if e['scene'] == scene]
            lines.append(f'  {scene}: {sum(len(e["tiles"]) for e in mine)} kept, '
                         f'{sum(e["dropped"] for e in mine)} dropped')
    return '\n'.join(lines)


def _scene_list(text: str) -> list[str]:
    return [scene.strip() for scene in text.split(',') if scene.strip()]


def _parser() -> argparse.ArgumentParser:
    called = sys.argv[0] if sys.argv[0].startswith('maxl-sr ') else 'python -m maxl_sr.prepare'
    parser = argparse.ArgumentParser(prog=called, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, text in {
        'div2k': 'a folder of clean photos, e.g. DIV2K_train_HR',
        'sidd': 'SIDD Small or Medium, sRGB: the folder with Data or with the scene folders',
        'polyu': 'PolyU: the folder with OriginalImages and CroppedImages',
        'nam': 'Nam CC15: a folder of *_real and *_mean images',
        'sr': 'super-resolution pairs: a folder of *_LR and *_HR images, e.g. Set5/image_SRF_2; kept whole',
        'gopro': 'GoPro: the folder (train, test) of the sequences with blur and sharp, or one of NAME and NAME_gt',
    }.items():
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument('root', type=Path, metavar='ROOT')
        sub.add_argument('-o', '--out', type=Path, required=True, metavar='OUT')
        if name == 'sr':
            sub.set_defaults(size=0, step=None)
        else:
            sub.add_argument('--size', type=int, default=DEFAULT_SIZE[name], metavar='PX', help='side of a tile; '
                             '0: whole images; smaller images are kept whole (default: %(default)s)')
            sub.add_argument('--step', type=int, metavar='PX',
                             help=f'from tile to tile (default: {"half the" if name == "div2k" else "the"} size)')
        sub.add_argument('--lmdb', action='store_true', help='write LMDBs instead of folders')
        sub.add_argument('--jobs', type=int, default=os.cpu_count() or 1, metavar='N',
                         help='images at the same time (default: all cores)')
        if name in ('div2k', 'sr', 'gopro'):
            sub.set_defaults(max_shift=0.0)
        else:
            sub.add_argument('--max-shift', type=float, default=0.3 if name == 'polyu' else 0.0, metavar='PX',
                             help='drop tiles whose noisy and clean version are shifted by more; 0: keep all '
                                  '(default: %(default)s)')
        if name in ('sidd', 'gopro'):
            example, what = {'sidd': ('001', "the second field of the folder's name"),
                             'gopro': ('GOPR0374_11_00', 'sequences')}[name]
            sub.add_argument('--scenes', type=_scene_list, metavar=f'{example},…', help=f'only these scenes ({what})')
            sub.add_argument('--exclude-scenes', type=_scene_list, default=[], metavar=example,
                             help='all but these scenes')
        if name == 'polyu':
            sub.add_argument('--part', choices=('original', 'cropped'), default='original',
                             help='the full images or the official crops (default: %(default)s)')
            sub.add_argument('--split', type=Path, metavar='FILE',
                             help='JSON with the scene lists train and val (default: ROOT/split.json if there)')
            sub.add_argument('--subset', choices=('train', 'val', 'all'), default='all',
                             help='scenes of the split (default: %(default)s)')
    return parser


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
    finders = {'div2k': _div2k, 'sidd': _sidd, 'polyu': _polyu, 'nam': _nam, 'sr': _sr,
               'gopro': _gopro}
    sources = finders[args.command](args)
    if not sources:
        raise UserError(f'No image for {args.command} was found in {args.root}.')
    by_name: dict[str, Source] = {}
    for source in sources:
        if by_name.setdefault(source.name, source) is not source:
            raise UserError(f'{source.gt} and {by_name[source.name].gt.name} would both give tiles called '
                            f'{source.name}; rename one of them.')
    options = {'command': args.command, 'size': args.size, 'step': args.step, 'max_shift': args.max_shift}
    manifest = Manifest(args.out, options, args.lmdb)
    gone = sorted(manifest.done.keys() - by_name.keys())
    if gone:  # scenes that are held out now must not linger from an earlier run
        raise UserError(f'{args.out} holds tiles of {gone[0]}, which is not among the images now; '
                        'use another -o or delete the folder.')
    written = (_make_lmdb if args.lmdb else _make_folders)(args.out, sources, manifest, args)
    return _summary(sources, manifest, written, args)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: 0, or 2 after a user's mistake, or 130 after Ctrl-C (the same command continues)."""
    try:
        print(run(argv))
    except UserError as err:
        print(f'error: {err}', file=sys.stderr)
        return 2
    except OSError as err:
        print(f'error: {err}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('stopped; the same command continues', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
