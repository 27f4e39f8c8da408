"""Where tiles go: folders or LMDBs, and the manifest that says what is done."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import lmdb
from basicsr.utils.lmdb_util import LmdbMaker
from tqdm import tqdm

from maxl_sr.errors import UserError
from maxl_sr.prepare.sources import LEGAL, Original
from maxl_sr.prepare.tiles import PNG_LEVEL, Cut, Cutting, ToCut, cut_all, write
from maxl_sr.utils.files import check_file, remove_partial_files, replacing_folder

SAVE_SECONDS = 5.0
FIRST_MAP = 2 ** 26  # bytes
PAGE = 4096  # bytes; of an LMDB


class Manifest:
    """What an output folder was made with (`options`), and the files and tiles of every finished image (`done`)."""

    def __init__(self, out: Path, options: dict[str, Any], lmdb: bool) -> None:
        self.path = out / ('manifest_lmdb.json' if lmdb else 'manifest.json')
        self.options = options
        self.done: dict[str, dict[str, Any]] = {}
        if os.path.lexists(self.path):
            check_file(self.path)
            try:
                content = json.loads(self.path.read_text(encoding='utf-8'))
                made_with, self.done = content['options'], content['images']
                if not isinstance(made_with, dict) or not all(_is_entry(*item) for item in self.done.items()):
                    raise ValueError('no entry')
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
                raise UserError(f'{self.path} is damaged; delete the folder {out} or use another -o.') from err
            changed = [f'{key.replace("_", "-")} {made_with.get(key, False)} (now {value})'
                       for key, value in options.items() if made_with.get(key, False) != value]
            if changed:
                raise UserError(f'{out} was made with {", ".join(changed)}; use another -o or delete the folder.')
        else:
            for name in ('gt.lmdb', 'lq.lmdb') if lmdb else ('gt', 'lq'):
                if (out / name).is_dir() and any((out / name).iterdir()):
                    raise UserError(f'{out / name} holds files that this command did not write '
                                    f'(no {self.path.name}); use another -o or delete the folder.')

    def save(self) -> None:
        content = json.dumps({'options': self.options, 'images': self.done})
        write(self.path, content.encode())

    def add(self, source: Original, files: list[list[Any]], cut: Cut) -> None:
        self.done[source.name] = {'files': files, 'scene': source.scene, 'tiles': cut.tiles,
                                  'dropped': cut.dropped, 'whole': cut.whole}
        if cut.alignment:
            self.done[source.name]['alignment'] = cut.alignment
        if cut.refused:
            self.done[source.name]['refused'] = cut.refused


def _is_entry(name: str, entry: Any) -> bool:
    """Whether a manifest says so of an image; the names of its tiles are none of other files."""
    own = re.compile(re.escape(name) + r'(_s\d+)?')
    return (isinstance(entry, dict) and LEGAL.fullmatch(name) is not None and isinstance(entry['files'], list)
            and isinstance(entry['tiles'], list) and all(own.fullmatch(tile) for tile in entry['tiles'])
            and isinstance(entry['scene'], str) and all(isinstance(entry[key], int) for key in ('dropped', 'whole'))
            and isinstance(entry.get('refused', ''), str) and _is_alignment(entry.get('alignment', {})))


def _is_alignment(told: Any) -> bool:
    if not isinstance(told, dict) or not all(isinstance(value, (int, float)) for value in told.values()):
        return False
    return not told or ({'psnr_before', 'psnr_after'} <= told.keys()
                        and ('shift_before' in told) == ('shift_after' in told))


def _require_tiles(manifest: Manifest, root: Path, cutting: Cutting) -> None:
    if any(entry['tiles'] for entry in manifest.done.values()):
        return
    refused = [f"{name} ({entry['refused']})" for name, entry in manifest.done.items() if 'refused' in entry]
    if refused:
        raise UserError(f'No image of {root} could be registered: {", ".join(refused[:5])}'
                        f'{" …" * (len(refused) > 5)}.')
    raise UserError(f'All tiles of {root} were dropped: their noisy and clean versions are shifted by more '
                    f'than --max-shift {cutting.max_shift:g} px.')


def make_folders(out: Path, sources: list[Original], manifest: Manifest, root: Path, cutting: Cutting,
                 threads: int) -> int:
    """Write the tiles to ``gt`` and ``lq`` in `out`; return how many were written."""
    kinds = ('gt', 'lq') if sources[0].lq else ('gt',)
    have = set()
    for kind in kinds:
        if os.path.lexists(out / kind) and not (out / kind).is_dir():
            raise UserError(f'{out / kind} is no folder; use another -o or move it away.')
        (out / kind).mkdir(parents=True, exist_ok=True)
        remove_partial_files([out / kind])
        have |= {f'{kind}/{path.name}' for path in (out / kind).iterdir()}
    manifest.save()  # before the first tile: from here on the folder is known as ours
    todo: list[tuple[list[list[Any]], ToCut]] = []
    for source in sources:
        files, entry = source.files(), manifest.done.get(source.name)
        if entry and entry['files'] != files:
            for tile in (f'{kind}/{name}.png' for kind in kinds for name in entry['tiles']):
                (out / tile).unlink(missing_ok=True)
            del manifest.done[source.name]
            entry = None
        wanted = {f'{kind}/{name}.png' for kind in kinds for name in entry['tiles']} if entry else set()
        if not entry or not wanted <= have:
            todo.append((files, ToCut(source, cutting, out, frozenset(wanted & have))))
    written, saved = 0, time.monotonic()
    try:
        with closing(cut_all((task for _, task in todo), min(threads, max(len(todo), 1)))) as cuts:
            for cut, (files, task) in zip(tqdm(cuts, total=len(todo), unit='image', disable=not todo), todo):
                manifest.add(task.source, files, cut)
                written += cut.written
                if time.monotonic() - saved > SAVE_SECONDS:
                    manifest.save()
                    saved = time.monotonic()
    finally:
        if todo:
            manifest.save()
    _require_tiles(manifest, root, cutting)
    return written


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Name the LMDB in what goes wrong with it."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise UserError(f'cannot write {path}: {error}') from error


class GrowingLmdbMaker(LmdbMaker):
    """BasicSR's writer of an LMDB, with a map that grows with its content.

    BasicSR reserves a terabyte, in every process that reads the LMDB too; a container may not allow it.
    """

    txn: lmdb.Transaction

    def __init__(self, path: Path) -> None:
        self._map_size, self._used = FIRST_MAP, 0
        try:
            super().__init__(str(path), map_size=FIRST_MAP, batch=500, compress_level=PNG_LEVEL)
        except OSError:  # of its list: the database is open, and takes a file from whoever clears it away
            self.env.close()
            raise

    def put(self, img_byte: bytes, key: str, img_shape: tuple[int, ...]) -> None:
        self._used += len(img_byte) + 2 * PAGE
        if self._used > self._map_size:
            self.txn.commit()
            self._map_size = 2 * self._used
            self.env.set_mapsize(self._map_size)
            self.txn = self.env.begin(write=True)
        super().put(img_byte, key, img_shape)


def make_lmdb(out: Path, sources: list[Original], manifest: Manifest, root: Path, cutting: Cutting,
              threads: int) -> int:
    """Write the tiles to ``gt.lmdb`` and ``lq.lmdb`` in `out`; return how many were written."""
    kinds = ('gt', 'lq') if sources[0].lq else ('gt',)
    final = {kind: out / f'{kind}.lmdb' for kind in kinds}
    files = [source.files() for source in sources]
    with ExitStack() as whole:
        partial = {kind: whole.enter_context(replacing_folder(path)) for kind, path in final.items()}
        complete = [manifest.done.get(source.name, {}).get('files') for source in sources] == files
        if complete and all((path / 'data.mdb').is_file() for path in final.values()):
            return 0
        out.mkdir(parents=True, exist_ok=True)
        manifest.done = {}
        manifest.save()  # until the end, the manifest says that nothing is finished
        tasks = (ToCut(source, cutting, None) for source in sources)
        makers: dict[str, LmdbMaker] = {}
        written = 0
        try:
            for kind, path in partial.items():
                with _told(final[kind]):
                    makers[kind] = GrowingLmdbMaker(path)
            with closing(cut_all(tasks, min(threads, len(sources)))) as cuts:
                for cut, source, stats in zip(tqdm(cuts, total=len(sources), unit='image'), sources, files):
                    for name, shapes, data in cut.encoded:
                        for kind, png in data.items():
                            with _told(final[kind]):
                                makers[kind].put(png, name, shapes[kind])
                    manifest.add(source, stats, cut)
                    written += cut.written
            _require_tiles(manifest, root, cutting)
            for kind, maker in makers.items():
                with _told(final[kind]):
                    maker.close()
        except BaseException:
            for maker in makers.values():
                with suppress(OSError, lmdb.Error):
                    maker.env.close()
                    maker.txt_file.close()
            raise
    manifest.save()
    return written
