"""The table of methods on pairs of images: what each restores, its time, memory and size."""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from basicsr.data import build_dataset
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.utils import tensor2img
from tqdm import tqdm

from maxl_sr.compare.image_tables import paired_files, read_image
from maxl_sr.compare.perceptual import Distance, lpips_distance
from maxl_sr.errors import UserError
from maxl_sr.metrics.matched_metric import calculate_psnr_matched, calculate_ssim_matched
from maxl_sr.settings.option_file import read_option_file
from maxl_sr.utils.packaged import find_option_file
from maxl_sr.yardsticks.method import Cost, Method

Pairs = Sequence[Callable[[], tuple[np.ndarray, np.ndarray]]]  # each reads a noisy and a clean image, BGR uint8
BEST = 'best of each image'


def pairs_of_folders(noisy: Path, clean: Path) -> dict[str, Pairs]:
    """Return the pairs of two folders, matched by name, under the name of the folder.

    Raises:
        UserError: A folder or an image is missing.
    """
    files = paired_files(noisy, clean)
    return {noisy.name: [functools.partial(_read, lq, gt) for lq, gt in files]}


def pairs_of_options(path: str) -> dict[str, Pairs]:
    """Return the pairs of the test sets of an option file, of 8 bits as in its tests.

    Raises:
        UserError: The option file or a data set cannot be used.
    """
    opt = read_option_file(find_option_file(path))
    found: dict[str, Pairs] = {}
    for key, section in opt['datasets'].items():
        if key.split('_')[0] == 'train':
            continue
        dataset = build_dataset({**section, 'phase': 'test', 'scale': opt.get('scale', 1)})
        found[section.get('name') or key] = [functools.partial(_item, dataset, index) for index in range(len(dataset))]
    if not found:
        raise UserError(f'{path} has no test sets')
    return found


def _read(lq: Path, gt: Path) -> tuple[np.ndarray, np.ndarray]:
    return read_image(lq), read_image(gt)


def _item(dataset: Any, index: int) -> tuple[np.ndarray, np.ndarray]:
    item = dataset[index]
    lq, gt = (tensor2img(item[key].clone()) for key in ('lq', 'gt'))  # a copy: it clamps in place
    return lq, gt


@dataclass
class Measured:
    """What a method reached on a data set.

    Attributes:
        name: Name of the method.
        setting: Its setting, or :data:`BEST`; nothing where it has none.
        figures: Of every image, by metric.
        seconds: Seconds a megapixel, of every image; empty where it is not of this row.
        memory: Most bytes that it took beside what the process had before; None: not known.
        cost: What it needs.
    """

    name: str
    setting: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    memory: int | None = None
    cost: Cost = Cost()

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the images."""
        return float(np.mean(self.figures[metric]))


def _status(key: str) -> int | None:
    """A line of ``/proc/self/status`` in bytes; None where there is none."""
    with contextlib.suppress(OSError), open('/proc/self/status', encoding='ascii') as file:
        for line in file:
            if line.startswith(f'{key}:'):
                return int(line.split()[1]) * 1024
    return None


@contextlib.contextmanager
def _peak() -> Iterator[list[int]]:
    """Append the most memory that the process took within, beside what it had before."""
    found: list[int] = []
    known = os.access('/proc/self/clear_refs', os.W_OK)
    if known:
        with contextlib.suppress(OSError), open('/proc/self/clear_refs', 'w', encoding='ascii') as file:
            file.write('5')  # the peak begins anew
    before = _status('VmRSS')
    yield found
    peak = _status('VmHWM')
    if known and before is not None and peak is not None:
        found.append(max(peak - before, 0))


def _figures(restored: np.ndarray, clean: np.ndarray, noisy: np.ndarray) -> dict[str, float]:
    how = {'crop_border': 0}
    return {'psnr': calculate_psnr(restored, clean, **how), 'ssim': calculate_ssim(restored, clean, **how),
            'psnr_matched': calculate_psnr_matched(restored, clean, noisy=noisy, **how),
            'ssim_matched': calculate_ssim_matched(restored, clean, noisy=noisy, **how)}


class _Result(NamedTuple):
    """One restored image: setting, BGR uint8, seconds, and bytes where they are known."""

    setting: str
    image: np.ndarray
    seconds: float
    memory: int | None


def _results(method: Method, noisy: np.ndarray) -> Iterator[_Result]:
    """What a method makes of an image, BGR uint8."""
    results = method.results(np.ascontiguousarray(noisy[..., ::-1]))
    while True:
        begin = time.perf_counter()
        with _peak() as peak:
            result = next(results, None)
        if result is None:
            return
        image = (result[1].clip(0, 1) * 255).round().astype(np.uint8)
        setting = result[0] if isinstance(result[0], str) else f'{result[0]:g}'
        memory = peak[0] if peak else None
        yield _Result(setting, np.ascontiguousarray(image[..., ::-1]), time.perf_counter() - begin, memory)


def measure(methods: Sequence[Method], data: Mapping[str, Pairs], told: bool = True) -> dict[str, list[Measured]]:
    """Return what the methods reach on each data set, the noisy images first.

    Of a method with strengths to choose from there are two rows: the one strength that is best for the data set, and
    the best one of each image. Both are chosen by the PSNR against the ground truth, which flatters them.

    Args:
        methods: The methods.
        data: Pairs of noisy and clean images by the name of the data set.
        told: Whether there is a progress bar.

    Raises:
        UserError: Two images are no pair.
    """
    for name, pairs in data.items():  # all of them before the first method runs: some take hours
        _check_sizes(name, pairs)
    lpips, costs = lpips_distance(), {method.name: method.cost() for method in methods}
    return {name: _of_data(name, methods, pairs, costs, lpips, told) for name, pairs in data.items()}


def _check_sizes(name: str, pairs: Pairs) -> None:
    for noisy, clean in (read() for read in pairs):
        if noisy.shape != clean.shape:
            raise UserError(f'{name}: images of {noisy.shape[1]}×{noisy.shape[0]} and {clean.shape[1]}×'
                            f'{clean.shape[0]} are no pair of one size')


def _of_data(name: str, methods: Sequence[Method], pairs: Pairs, costs: Mapping[str, Cost], lpips: Distance | None,
             told: bool) -> list[Measured]:
    rows: dict[tuple[str, str], Measured] = {}
    for read in tqdm(pairs, desc=name, unit='image', disable=not told):
        noisy, clean = read()
        found = [('noisy', _Result('', noisy, 0, None))]
        found += ((method.name, result) for method in methods for result in _results(method, noisy))
        for method_name, result in found:
            row = rows.setdefault((method_name, result.setting), Measured(method_name, result.setting))
            figures = _figures(result.image, clean, noisy)
            if lpips is not None:
                figures['lpips'] = lpips(result.image, clean)
            for metric, value in figures.items():
                row.figures.setdefault(metric, []).append(value)
            row.seconds.append(result.seconds / (noisy.shape[0] * noisy.shape[1] / 1e6))
            row.memory = max(filter(None, (row.memory, result.memory)), default=None)
    table = [rows.pop(('noisy', ''))]
    table[0].seconds = []
    for method in methods:
        own = [row for row in rows.values() if row.name == method.name]
        for row in own:
            row.cost = costs[method.name]
        table += _chosen(own) if method.chosen and len(own) > 1 else own
    return table


def _chosen(rows: Sequence[Measured]) -> list[Measured]:
    """The best setting for all images, and the best one of each."""
    fixed = max(rows, key=lambda row: row.mean('psnr'))
    which = np.argmax([row.figures['psnr'] for row in rows], axis=0)
    each = {metric: [rows[w].figures[metric][i] for i, w in enumerate(which)] for metric in fixed.figures}
    return [fixed, Measured(fixed.name, BEST, each, cost=fixed.cost)]


def table_of(tables: Mapping[str, Sequence[Measured]]) -> str:
    """Return the figures as a Markdown table."""
    lpips = any('lpips' in row.figures for rows in tables.values() for row in rows)
    heads = ['Data (images)', 'Method', 'PSNR / SSIM', 'light matched', *(['LPIPS'] if lpips else []), 'parameters',
             'GFLOPs/MP', 's/MP', 'MiB']
    lines = [f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    for name, rows in tables.items():
        for row in rows:
            method = f'{row.name}, {row.setting}' if row.setting else row.name
            matched = f'{row.mean("psnr_matched"):.2f} / {row.mean("ssim_matched"):.4f}'
            cells = [f'{name} ({len(row.figures["psnr"])})', method, f'{row.mean("psnr"):.2f} / {row.mean("ssim"):.4f}',
                     matched, *([f'{row.mean("lpips"):.3f}'] if lpips else []),
                     f'{row.cost.parameters:,}' if row.cost.parameters else '',
                     f'{row.cost.flops / 1e9:,.0f}' if row.cost.flops else '',
                     f'{np.mean(row.seconds):.2f}' if row.seconds else '',
                     f'{row.memory / 2**20:,.0f}' if row.memory is not None else '']
            lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def as_json(tables: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
    """Return the figures of every image, for a file."""
    return {name: [{'method': row.name, 'setting': row.setting, 'parameters': row.cost.parameters,
                    'flops_a_megapixel': row.cost.flops, 'bytes': row.memory,
                    'seconds_a_megapixel': round(float(np.mean(row.seconds)), 4) if row.seconds else None,
                    'figures': {metric: [round(value, 5) for value in values]
                                for metric, values in row.figures.items()}}
                   for row in rows] for name, rows in tables.items()}
