"""From image files to tiles: reading, registering, matching the light, cutting."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from maxl_sr.errors import UserError
from maxl_sr.formats.whole import read_whole
from maxl_sr.prepare.light import match_light
from maxl_sr.prepare.mat import read_mat
from maxl_sr.prepare.registration import Unregistrable, register, shift_between
from maxl_sr.prepare.sources import Original
from maxl_sr.utils.files import replacing, shown
from maxl_sr.utils.memory import is_out_of_memory

PNG_LEVEL = 1  # tiles are read far more often than stored


class Cutting(NamedTuple):
    """How images are cut.

    Attributes:
        size: Side of the tiles in pixels; 0: images stay whole.
        step: From tile to tile.
        max_shift: Tiles whose two images are shifted by more pixels are dropped; 0: none is.
        register: Whether the ground truth is moved onto the noisy image.
        match_light: Whether the ground truth gets the light of the noisy image.
        smaller: The degraded image may be smaller than the clean one by a whole number; then images stay whole.
    """

    size: int
    step: int
    max_shift: float
    register: bool = False
    match_light: bool = False
    smaller: bool = False


class ToCut(NamedTuple):
    """One image to cut; `folder` None: hand back encoded tiles. `have`: the files that need no writing."""

    source: Original
    cutting: Cutting
    folder: Path | None
    have: frozenset[str] = frozenset()


class Cut(NamedTuple):
    """What became of one source.

    `alignment` says what registering and matching did, `refused` why the image was left out, if it was.
    """

    tiles: list[str]
    dropped: int
    whole: bool
    written: int
    encoded: list[tuple[str, dict[str, tuple[int, ...]], dict[str, bytes]]]
    alignment: dict[str, float] = {}
    refused: str = ''


def read(path: Path) -> np.ndarray:
    """Return an image of a data set, 8-bit BGR.

    Raises:
        UserError: It cannot be read, whatever the cause, or holds several pictures.
    """
    try:
        return read_whole(path)
    except MemoryError as error:
        raise UserError(f'there is not enough memory to read {shown(path)}; fewer --jobs need less.') from error


def _read(path: Path, kind: str) -> np.ndarray:
    """Return the clean ('gt') or the noisy ('lq') image of a file, which may hold both."""
    return read_mat(path, kind) if path.suffix.lower() == '.mat' else read(path)


def _starts(length: int, size: int, step: int) -> list[int]:
    """Where the tiles of one axis start; the last one ends at the border, as in BasicSR's ``extract_subimages``."""
    starts = list(range(0, length - size + 1, step))
    return starts if starts[-1] == length - size else [*starts, length - size]


def write(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def _psnr(noisy: np.ndarray, clean: np.ndarray) -> float:
    return round(float(cv2.PSNR(noisy, clean)), 2)


def _aligned(source: Original, noisy: np.ndarray, cutting: Cutting) -> tuple[np.ndarray, int, dict[str, float]]:
    """The ground truth of `noisy`, the border that it lacks, and what was done to it.

    Raises:
        Unregistrable: A shot cannot be registered.
    """
    total = np.zeros(noisy.shape, np.float32)
    margin, first, shifts = 0, None, []
    paths = [source.gt, *source.more]
    for path in paths:
        shot = _read(path, 'gt')
        if shot.shape != noisy.shape:
            raise UserError(f'{source.lq} is {noisy.shape[1]}x{noisy.shape[0]}, but its clean partner {path.name} is '
                            f'{shot.shape[1]}x{shot.shape[0]}.')
        first = shot if first is None else first
        moved = shot.astype(np.float32)
        if cutting.register:
            try:
                registration = register(noisy, shot)
            except Unregistrable as error:
                raise Unregistrable(f'{path.name}: {error}') from error
            moved = registration.apply(shot)
            margin = max(margin, registration.margin())
            shifts.append((registration.before, registration.after))
        total += match_light(moved, noisy) if cutting.match_light else moved
    clean = np.clip(np.round(total / len(paths)), 0, 255).astype(np.uint8)
    if min(noisy.shape[:2]) <= 2 * margin:
        raise Unregistrable('nothing is left beside the border')
    inner = (slice(margin, noisy.shape[0] - margin), slice(margin, noisy.shape[1] - margin))
    assert first is not None
    told = {'psnr_before': _psnr(noisy[inner], first[inner]), 'psnr_after': _psnr(noisy[inner], clean[inner])}
    if shifts:
        before, after = np.max(shifts, axis=0)
        told |= {'shift_before': round(float(before), 3), 'shift_after': round(float(after), 3), 'border': margin}
    return clean, margin, told


def _pair(source: Original, cutting: Cutting) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The images to cut, of equal sizes, and what was done to the ground truth."""
    if source.lq is None:
        return {'gt': _read(source.gt, 'gt')}, {}
    if cutting.register or cutting.match_light or source.more:
        noisy = _read(source.lq, 'lq')
        clean, margin, told = _aligned(source, noisy, cutting)
        inner = (slice(margin, noisy.shape[0] - margin), slice(margin, noisy.shape[1] - margin))
        return {'gt': clean[inner], 'lq': noisy[inner]}, told
    images = {'gt': _read(source.gt, 'gt'), 'lq': _read(source.lq, 'lq')}
    (h, w), (lq_h, lq_w) = (images[kind].shape[:2] for kind in ('gt', 'lq'))
    scale = max(h // lq_h, 1) if cutting.smaller else 1
    if (h // scale, w // scale) != (lq_h, lq_w):
        raise UserError(f'{source.lq} is {lq_w}x{lq_h}, but its clean partner {source.gt.name} is {w}x{h}.')
    images['gt'] = images['gt'][:lq_h * scale, :lq_w * scale]  # what is left beside whole pixels
    return images, {}


def _cut(task: ToCut) -> Cut:
    try:
        return _cut_one(task)
    except (MemoryError, cv2.error) as error:
        if is_out_of_memory(error):
            raise UserError(f'there is not enough memory for {shown(task.source.gt)}; fewer --jobs need less.') \
                from error
        raise


def _cut_one(task: ToCut) -> Cut:
    source, cutting, folder = task.source, task.cutting, task.folder
    size, step = cutting.size, cutting.step
    try:
        images, told = _pair(source, cutting)
    except Unregistrable as error:
        return Cut([], 0, False, 0, [], refused=str(error))
    height, width = images['gt'].shape[:2]
    whole = min(height, width) < size
    if size == 0 or whole:
        boxes = [(slice(None), slice(None))]
    else:
        boxes = [(slice(y, y + size), slice(x, x + size))
                 for y in _starts(height, size, step) for x in _starts(width, size, step)]
    cut = Cut([], 0, whole, 0, [], told)
    dropped = written = 0
    for number, box in enumerate(boxes, 1):
        name = f'{source.name}_s{number:03d}' if size else source.name
        tile = {kind: np.ascontiguousarray(image[box]) for kind, image in images.items()}
        if source.lq and cutting.max_shift and shift_between(tile['lq'], tile['gt']) > cutting.max_shift:
            dropped += 1
            continue
        cut.tiles.append(name)
        data = {kind: cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])[1].tobytes()
                for kind, image in tile.items() if f'{kind}/{name}.png' not in task.have}
        if folder is None:
            cut.encoded.append((name, {kind: image.shape for kind, image in tile.items()}, data))
        else:
            for kind, png in data.items():
                write(folder / kind / f'{name}.png', png)
        written += bool(data)
    return cut._replace(dropped=dropped, written=written)


def cut_all(tasks: Iterable[ToCut], threads: int) -> Generator[Cut, Any, None]:
    """Yield the results in order, never more than a few images ahead of the reader (LMDB tiles wait in memory).

    Threads, not processes: OpenCV and Pillow release the interpreter while they decode, encode and filter.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        rest = iter(tasks)
        waiting = deque(pool.submit(_cut, task) for task in islice(rest, 2 * threads))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(_cut, task) for task in islice(rest, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
