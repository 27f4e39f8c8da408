"""The page of the figures, made of the JSON files alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from maxl_sr.errors import UserError
from maxl_sr.utils.files import replacing
from scripts.reproduction.plan import definitions
from scripts.reproduction.plots import draw, draw_gains, draw_validations
from scripts.reproduction.results import (
    TRAINED,
    Results,
    data_sets,
    gains,
    load,
    mean_gains,
    noisy_psnr,
    validations,
    values,
)
from scripts.tables import head, signed

ABOUT = """PSNR in dB, RGB, 8 bit, un-adapted; gain of adapting by the rate of the training; ± half of the range of the
seeds. Updates of θ1; minutes of processor time of all trainings of the row, also where a GPU computed.
"""
PICTURE = 'images/evidence_{}.png'  # beside the page
GAINS = 'images/evidence_{}_gains.png'
CURVES = 'images/evidence_{}_validation.png'
READING = Path(__file__).with_name('reading.md')
SUMMARY = {'random_masked': 'from random weights', 'primary_plain': 'pre-trained on L_pri alone',
           'maxl_plain': 'pre-trained with plain reconstruction', 'maxl': 'MAXL, the method',
           'maxl_all': 'MAXL, all weights adapt', 'parallel': 'parallel heads'}  # rows of the README


def spread(figures: np.ndarray, digits: int = 2, sign: bool = False) -> str:
    """Return the mean over the seeds, and half of their range where there are several."""
    if not len(figures):
        return ''
    mean = figures.mean()
    text = signed(mean, digits) if sign else f'{mean:.{digits}f}'
    return f'{text} ± {np.ptp(figures) / 2:.{digits}f}' if len(figures) > 1 else text


def _lines(found: dict[str, Results], title: str, rows: dict[str, str]) -> Iterator[str]:
    sets = data_sets(found)
    yield f'### {title}\n'
    yield head(['Row', *(cell for data in sets for cell in (data, 'gain')), 'updates', 'minutes', 'seeds'])
    noisy = [noisy_psnr(found, data) for data in sets]
    yield '| noisy | ' + ' | '.join('|' if figure is None else f'{figure:.2f} |' for figure in noisy) + ' | | | |'
    for name, text in rows.items():
        results = found.get(name)
        if not results:
            yield f'| {text} (`{name}`) |' + ' |' * (2 * len(sets) + 2) + ' not run |'
            continue
        cells = [cell for data in sets for cell in (spread(values(results, data)),
                                                    spread(mean_gains(results, data, TRAINED), sign=True))]
        seconds = [[one['seconds'] for one in result['trainings'].values()] for result in results]
        known = [sum(every) / 60 for every in seconds if None not in every]
        updates = sum(one.get('updates', 0) for one in results[0]['trainings'].values())
        minutes = f'{np.mean(known):.0f}' if known else ''
        yield (f'| {text} (`{name}`) | {" | ".join(cells)} | {updates:,} | {minutes} | '
               f'{", ".join(str(result["seed"]) for result in results)} |')
    yield ''


def _readings(found: dict[str, Results]) -> Iterator[str]:
    """What adapting gains by each reading of the rate, over all images of all sets and seeds."""
    readings = definitions()['readings']
    yield '### By which rate\n'
    yield ('Mean gain of all images in dB, and in brackets the worst image. The paper gives a rate of 1e-5 at test, '
           'and does not say of which optimiser.\n')
    yield head(['Row', *readings])
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
    yield head(['Claim', *sets])
    for claim, (first, second) in definitions()['claims'].items():
        cells = []
        for data in sets:
            both = [found.get(name, []) for name in (first, second)]
            seeds = sorted(set.intersection(*({result['seed'] for result in results} for results in both)))
            pair = [values([r for r in results if r['seed'] in seeds], data, reading) for results in both]
            cells.append(spread(pair[0] - pair[1], sign=True) if seeds else '')
        yield f'| {claim} | {" | ".join(cells)} |'
    yield ''


def _conditions(found: dict[str, Results]) -> Iterator[str]:
    """On what, with what and when the rows were trained, and what else is to be said of some."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for result in (result for results in found.values() for result in results):
        key = (f'{result["processor"]}. torch {result["torch"]}', result.get('note', ''))
        alike.setdefault(key, []).append(f'`{result["row"]}` {result["seed"]}')
    most = max(alike, key=lambda key: len(alike[key]))
    for (told, note), rows in alike.items():
        which = ' (all other rows)' if (told, note) == most else f' ({", ".join(rows)})'
        yield f' - {told}{which if len(alike) > 1 else ""}{f": {note}" if note else ""}.'
    every = [result for results in found.values() for result in results]
    commits, dates = (', '.join(sorted({str(result[key]) for result in every})) for key in ('commit', 'date'))
    yield f' - Commits: {commits}. Dates: {dates}.\n'


def _alignment(found: dict[str, Results]) -> Iterator[str]:
    """How the gradient of the auxiliary loss lies to that of the primary one."""
    sets = data_sets(found)
    yield '### What the auxiliary loss tells\n'
    yield ('Cosine between the gradient of the auxiliary loss and that of the primary loss with the ground truth, into '
           'the weights that adapt and that the restored image depends on, before the first step: mean over the images '
           '(least … most). 1: a step on one is a step on the other; 0: it tells nothing of it.\n')
    yield head(['Row', *sets])
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
                  *_conditions(found), ABOUT]
        lines += _claims(found)
        for number, table in definitions()['tables'].items():
            title = f'Table {number}: {table["title"]}' if isinstance(number, int) else table['title']
            lines += _lines(found, title, table['rows'])
            shown = {name: found[name] for name in table['rows'] if any(map(validations, found.get(name, [])))}
            if shown:
                lines += [f'![Validation as the training goes on]({CURVES.format(scale)})\n']
        lines += _readings(found)
        lines += _alignment(found)
    return '\n'.join(lines).rstrip() + '\n'


def summary(folder: Path, scale: str = 'small') -> str:
    """Return the small table of the README: un-adapted PSNR, and the gain of adapting, of a few rows."""
    found = load(folder / scale)
    sets = [data for data in data_sets(found) if noisy_psnr(found, data) is not None]
    lines = [head(['', *sets]),
             '| noisy | ' + ' | '.join(f'{noisy_psnr(found, data):.2f}' for data in sets) + ' |']
    for name, text in SUMMARY.items():
        cells = [f'{spread(values(found[name], data))}, {spread(mean_gains(found[name], data, TRAINED), sign=True)}'
                 for data in sets] if name in found else [''] * len(sets)
        lines.append(f'| {text} | {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


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
        if any(validations(result) for results in load(folder / scale).values() for result in results):
            draw_validations(load(folder / scale), target.parent / CURVES.format(scale))
    with replacing(target) as partial:
        partial.write_text(text, encoding='utf-8')
