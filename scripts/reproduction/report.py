"""The page of the figures, made of the JSON files alone."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maxl_sr.errors import UserError
from maxl_sr.utils.files import replacing
from scripts.plotting import pyplot, save
from scripts.reproduction.plan import definitions

ABOUT = """PSNR in dB, RGB, 8 bit, un-adapted; gain of adapting by the rate of the training; ± half of the range of the
seeds. Updates of θ1; minutes of processor time of all trainings of the row.
"""
PICTURE = 'images/evidence_{}.png'  # beside the page
GAINS = 'images/evidence_{}_gains.png'
TRAINED = 'trained rate'  # the reading of the rate whose gains are drawn
READING = Path(__file__).with_name('reading.md')
SUMMARY = {'random_masked': 'from random weights', 'primary_plain': 'pre-trained on L_pri alone',
           'maxl_plain': 'pre-trained with plain reconstruction', 'maxl': 'MAXL, the method',
           'maxl_all': 'MAXL, all weights adapt', 'parallel': 'parallel heads'}  # rows of the README
KEYS = {'row', 'seed', 'processor', 'torch', 'commit', 'date', 'trainings', 'data'}  # of a JSON file
Results = list[dict[str, Any]]  # JSON files of one row, a seed each


def read_row(path: Path) -> dict[str, Any]:
    """Return the JSON file of a row.

    Raises:
        UserError: It is none.
    """
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        if KEYS <= result.keys():
            return result
    except (ValueError, AttributeError):
        pass
    raise UserError(f'{path} holds no figures of a row')


def load(folder: Path) -> dict[str, Results]:
    """Return the JSON files of a scale by row, in the order of the rows and their seeds.

    Raises:
        UserError: There are none, or one cannot be read.
    """
    found: dict[str, Results] = {}
    for path in sorted(folder.glob('*.json')):
        result = read_row(path)
        found.setdefault(result['row'], []).append(result)
    if not found:
        raise UserError(f'{folder} holds no figures (NAME-SEED.json)')
    for results in found.values():
        results.sort(key=lambda result: result['seed'])
    order = list(definitions()['stage2'])
    return {name: found[name] for name in sorted(found, key=lambda name: order.index(name) if name in order else 99)}


def values(results: Results, data: str, reading: str = '', metric: str = 'psnr') -> np.ndarray:
    """Return the mean over the images, of each seed: un-adapted, or by a reading of the rate."""
    entries = [result['data'][data] for result in results if data in result['data']]
    return np.array([np.mean((entry['after'][reading] if reading else entry['before'])[metric]) for entry in entries])


def gains(results: Results, data: str, reading: str) -> np.ndarray:
    """Return the gain of every image, a row a seed."""
    entries = [result['data'][data] for result in results if reading in result['data'].get(data, {}).get('after', {})]
    return np.array([np.subtract(entry['after'][reading]['psnr'], entry['before']['psnr']) for entry in entries])


def signed(value: float, digits: int = 2) -> str:
    """Return a gain with its sign, without −0."""
    return f'{round(float(value), digits) + 0.0:+.{digits}f}'.replace('-', '−')


def spread(figures: np.ndarray, digits: int = 2, sign: bool = False) -> str:
    """Return the mean over the seeds, and half of their range where there are several."""
    if not len(figures):
        return ''
    mean = figures.mean()
    text = signed(mean, digits) if sign else f'{mean:.{digits}f}'
    return f'{text} ± {np.ptp(figures) / 2:.{digits}f}' if len(figures) > 1 else text


def data_sets(found: dict[str, Results]) -> list[str]:
    """Return the names of the test sets."""
    return list(dict.fromkeys(data for results in found.values() for result in results for data in result['data']))


def _lines(found: dict[str, Results], title: str, rows: dict[str, str]) -> Iterator[str]:
    sets = data_sets(found)
    yield f'### {title}\n'
    yield '| Row | ' + ' | '.join(f'{data} | gain' for data in sets) + ' | updates | minutes | seeds |'
    yield '|---' * (2 * len(sets) + 4) + '|'
    noisy = [_noisy(found, data) for data in sets]
    yield '| noisy | ' + ' | '.join('|' if figure is None else f'{figure:.2f} |' for figure in noisy) + ' | | | |'
    for name, text in rows.items():
        results = found.get(name)
        if not results:
            yield f'| {text} (`{name}`) |' + ' |' * (2 * len(sets) + 2) + ' not run |'
            continue
        cells = [cell for data in sets for cell in (spread(values(results, data)),
                                                    spread(gains(results, data, TRAINED).mean(-1), sign=True))]
        seconds = [[one['seconds'] for one in result['trainings'].values()] for result in results]
        known = [sum(every) / 60 for every in seconds if None not in every]
        updates = sum(one.get('updates', 0) for one in results[0]['trainings'].values())
        minutes = f'{np.mean(known):.0f}' if known else ''
        yield (f'| {text} (`{name}`) | {" | ".join(cells)} | {updates:,} | {minutes} | '
               f'{", ".join(str(result["seed"]) for result in results)} |')
    yield ''


def _noisy(found: dict[str, Results], data: str) -> float | None:
    for results in found.values():
        for result in results:
            if 'noisy' in result['data'].get(data, {}):
                return float(np.mean(result['data'][data]['noisy']['psnr']))
    return None


def _readings(found: dict[str, Results]) -> Iterator[str]:
    """What adapting gains by each reading of the rate, over all images of all sets and seeds."""
    readings = definitions()['readings']
    yield '### By which rate\n'
    yield ('Mean gain of all images in dB, and in brackets the worst image. The paper gives a rate of 1e-5 at test, '
           'and does not say of which optimiser.\n')
    yield '| Row | ' + ' | '.join(readings) + ' |'
    yield '|---' * (len(readings) + 1) + '|'
    for name, results in found.items():
        cells = []
        for reading in readings:
            every = np.concatenate([np.zeros(0), *(gain for data in data_sets(found)
                                                   for gain in gains(results, data, reading))])
            cells.append(f'{signed(every.mean(), 3)} ({signed(every.min())})' if len(every) else '')
        if any(cells):
            yield f'| `{name}` | {" | ".join(cells)} |'
    yield ''


def _claims(found: dict[str, Results]) -> Iterator[str]:
    """What each part gains, against the spread of the seeds."""
    sets, reading = data_sets(found), TRAINED
    yield '### What each part gains\n'
    yield ('PSNR of the first minus that of the second, both adapted at the rate of the training; ± half of the range '
           'of the seeds.\n')
    yield '| Claim | ' + ' | '.join(sets) + ' |'
    yield '|---' * (len(sets) + 1) + '|'
    for claim, (first, second) in definitions()['claims'].items():
        cells = []
        for data in sets:
            both = [found.get(name, []) for name in (first, second)]
            seeds = sorted(set.intersection(*({result['seed'] for result in results} for results in both)))
            pair = [values([r for r in results if r['seed'] in seeds], data, reading) for results in both]
            cells.append(spread(pair[0] - pair[1], sign=True) if seeds else '')
        yield f'| {claim} | {" | ".join(cells)} |'
    yield ''


def _conditions(found: dict[str, Results]) -> str:
    every = [result for results in found.values() for result in results]
    told = {key: ', '.join(sorted({str(result[key]) for result in every}))
            for key in ('processor', 'torch', 'commit', 'date')}
    return (f'Processor: {told["processor"]}. torch {told["torch"]}. Commits: {told["commit"]}. Dates: {told["date"]}.')


def _alignment(found: dict[str, Results]) -> Iterator[str]:
    """How the gradient of the auxiliary loss lies to that of the primary one."""
    sets = data_sets(found)
    yield '### What the auxiliary loss tells\n'
    yield ('Cosine between the gradient of the auxiliary loss and that of the primary loss with the ground truth, into '
           'the weights that adapt, before the first step: mean over the images (least … most). 1: a step on one is a '
           'step on the other; 0: it tells nothing of it.\n')
    yield '| Row | ' + ' | '.join(sets) + ' |'
    yield '|---' * (len(sets) + 1) + '|'
    for name, results in found.items():
        cells = []
        for data in sets:
            every = [cosine for result in results for cosine in result['data'].get(data, {}).get('cosine', [])]
            cells.append(f'{signed(np.mean(every))} ({signed(min(every))} … {signed(max(every))})' if every else '')
        if any(cells):
            yield f'| `{name}` | {" | ".join(cells)} |'
    yield ''


def page(folder: Path) -> str:
    """Return the page of the figures of all scales in a folder.

    Raises:
        UserError: There are none.
    """
    scales = [name for name in definitions()['scales'] if (folder / name).is_dir()]
    if not scales:
        raise UserError(f'{folder} holds no figures: it has no folder of a scale')
    lines = [READING.read_text(encoding='utf-8').rstrip(), '']
    for scale in scales:
        found = load(folder / scale)
        lines += [f'## Scale `{scale}`\n', f'![PSNR of the rows, and the mask]({PICTURE.format(scale)})\n',
                  f'![Gains by step, of every image, and by noise]({GAINS.format(scale)})\n',
                  _conditions(found), '']
        lines += [ABOUT]
        lines += _claims(found)
        for number, table in definitions()['tables'].items():
            title = f'Table {number}: {table["title"]}' if isinstance(number, int) else table['title']
            lines += _lines(found, title, table['rows'])
        lines += _readings(found)
        lines += _alignment(found)
    return '\n'.join(lines).rstrip() + '\n'


def _mask_mean(result: dict[str, Any]) -> list[list[float]]:
    found: list[list[float]] = result['trainings'].get('stage2', {}).get('mask_mean') or []
    return found


def summary(folder: Path, scale: str = 'small') -> str:
    """Return the small table of the README: un-adapted PSNR, and the gain of adapting, of a few rows."""
    found = load(folder / scale)
    sets = [data for data in data_sets(found) if _noisy(found, data) is not None]
    lines = ['| | ' + ' | '.join(sets) + ' |', '|---' * (len(sets) + 1) + '|',
             '| noisy | ' + ' | '.join(f'{_noisy(found, data):.2f}' for data in sets) + ' |']
    for name, text in SUMMARY.items():
        cells = [f'{spread(values(found[name], data))}, {spread(gains(found[name], data, TRAINED).mean(-1), sign=True)}'
                 for data in sets] if name in found else [''] * len(sets)
        lines.append(f'| {text} | {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def draw(found: dict[str, Results], path: Path) -> None:
    """Draw the un-adapted PSNR of the rows above that of the noisy images, a point a seed, and the mean of the mask."""
    rows = [name for name in found if any(result['data'] for result in found[name])]
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(11, 0.3 * len(rows) + 2.2), constrained_layout=True)
    for data in data_sets(found):
        noisy = _noisy(found, data) or 0
        at = [(value - noisy, rows.index(name)) for name in rows for value in values(found[name], data)]
        left.plot(*zip(*at), 'o', markersize=5, label=data)
    left.set(yticks=range(len(rows)), yticklabels=rows, xlabel='PSNR un-adapted minus that of the noisy images (dB)')
    left.invert_yaxis()
    masked = [name for name in rows if any(_mask_mean(result) for result in found[name])]
    for number, name in enumerate(masked):
        for result in found[name]:
            curve = _mask_mean(result)
            if curve:
                first = result is found[name][0]
                right.plot(*zip(*curve), color=f'C{number % 10}', linestyle='-' if number < 10 else '--',
                           linewidth=1.6 if first else 0.8, label=name if first else None)
    right.set(xlabel='iteration of stage 2', ylabel='mean of the mask; thin: further seeds', ylim=(-0.02, 1.02))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    save(figure, path, dpi=110)


def by_step(results: Results) -> np.ndarray:
    """Return the gain after 0, 1, … K steps, a row an image; of all data sets and seeds."""
    curves = []
    for result in results:
        for entry in result['data'].values():
            steps = entry['after'].get(TRAINED, {}).get('psnr_steps')
            if steps:
                before = np.array(entry['before']['psnr'])[:, None]
                curves.append(np.concatenate([before, steps], axis=1) - before)
    return np.concatenate(curves) if curves else np.zeros((0, 0))


def draw_gains(found: dict[str, Results], path: Path) -> None:
    """Draw the gains: by step, of every image, and of the method against how noisy the image is."""
    curves = {name: by_step(results) for name, results in found.items()}
    rows = [name for name, curve in curves.items() if curve.size]
    figure, (left, middle, right) = pyplot().subplots(1, 3, figsize=(15, 0.3 * len(rows) + 2.6),
                                                      constrained_layout=True)
    for number, name in enumerate(rows):
        curve = curves[name]
        left.plot(curve.mean(0), label=name, linestyle='-' if number < 10 else '--')
        middle.plot(curve[:, -1], np.full(len(curve), number), '|', markersize=9, alpha=0.7)
    left.set(xlabel='steps', ylabel='gain (dB), mean of all images')
    middle.set(yticks=range(len(rows)), yticklabels=rows, xlabel='gain of an image (dB)')
    middle.invert_yaxis()
    middle.axvline(0, color='grey', linewidth=0.8)
    shown = 'maxl' if 'maxl' in rows else next(iter(rows), '')
    for data in data_sets(found):
        entries = [result['data'][data] for result in found.get(shown, []) if data in result['data']]
        points = [point for entry in entries if 'noisy' in entry
                  for point in zip(entry['noisy']['psnr'], np.subtract(entry['after'][TRAINED]['psnr'],
                                                                       entry['before']['psnr']))]
        if points:
            right.plot(*zip(*points), 'o', markersize=4, label=data)
    right.set(xlabel='PSNR of the noisy image (dB)', ylabel='gain (dB)', title=f'row {shown}')
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    save(figure, path, dpi=110)


def write_report(folder: Path, target: Path) -> None:
    """Write the page, and beside it ``images/evidence_SCALE.png`` and ``…_gains.png`` of every scale.

    Raises:
        UserError: There are no figures.
    """
    text = page(folder)
    scales: Sequence[str] = [name for name in definitions()['scales'] if (folder / name).is_dir()]
    (target.parent / 'images').mkdir(parents=True, exist_ok=True)
    for scale in scales:
        draw(load(folder / scale), target.parent / PICTURE.format(scale))
        draw_gains(load(folder / scale), target.parent / GAINS.format(scale))
    with replacing(target) as partial:
        partial.write_text(text, encoding='utf-8')
