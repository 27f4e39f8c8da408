"""The plots of the page: un-adapted PSNR, the mean of the mask, the gains, and validation curves."""

from pathlib import Path
from typing import Any

import numpy as np

from scripts.plotting import pyplot, save
from scripts.reproduction.results import (
    TRAINED,
    Results,
    by_step,
    data_sets,
    mask_mean,
    noisy_psnr,
    validations,
    values,
)


def _finish(axes: Any) -> None:
    """Add the grid, and a legend where there is something to tell; a long one stands beside the lines, not on them."""
    axes.grid(alpha=0.3)
    entries = len(axes.get_legend_handles_labels()[0])
    if entries:
        axes.legend(fontsize=7, **({'loc': 'upper left', 'bbox_to_anchor': (1, 1)} if entries > 8 else {}))


def draw(found: dict[str, Results], path: Path) -> None:
    """Draw the un-adapted PSNR of the rows above that of the noisy images, a point a seed, and the mean of the mask."""
    rows = [name for name in found if any(result['data'] for result in found[name])]
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(12.5, 0.3 * len(rows) + 2.2), constrained_layout=True)
    for data in data_sets(found):
        noisy = noisy_psnr(found, data) or 0
        at = [(value - noisy, rows.index(name)) for name in rows for value in values(found[name], data)]
        left.plot(*zip(*at), 'o', markersize=5, label=data)
    left.set(yticks=range(len(rows)), yticklabels=rows, xlabel='PSNR un-adapted minus that of the noisy images (dB)')
    left.invert_yaxis()
    masked = [name for name in rows if any(mask_mean(result) for result in found[name])]
    for number, name in enumerate(masked):
        for result in found[name]:
            curve = mask_mean(result)
            if curve:
                first = result is found[name][0]
                right.plot(*zip(*curve), color=f'C{number % 10}', linestyle='-' if number < 10 else '--',
                           linewidth=1.6 if first else 0.8, label=name if first else None)
    right.set(xlabel='iteration of stage 2', ylabel='mean of the mask; thin: further seeds', ylim=(-0.02, 1.02))
    for axes in (left, right):
        _finish(axes)
    save(figure, path, dpi=110)


def draw_gains(found: dict[str, Results], path: Path) -> None:
    """Draw the gains: by step, of every image, and of the method against how noisy the image is."""
    curves = {name: by_step(results) for name, results in found.items()}
    rows = [name for name, curve in curves.items() if curve.size]
    figure, (left, middle, right) = pyplot().subplots(1, 3, figsize=(16.5, 0.3 * len(rows) + 2.6),
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
        _finish(axes)
    save(figure, path, dpi=110)


def draw_validations(found: dict[str, Results], path: Path) -> None:
    """Draw the PSNR of the validation sets by iteration, of the rows whose trainings were validated on the way."""
    curves = [(name, data, curve) for name, results in found.items() for result in results
              for data, curve in validations(result).items()]
    sets = sorted({data for _, data, _ in curves})
    figure, panels = pyplot().subplots(1, len(sets), figsize=(5.5 * len(sets), 3.4), constrained_layout=True,
                                       squeeze=False)
    rows = list(dict.fromkeys(name for name, *_ in curves))
    for data, axes in zip(sets, panels[0]):
        for name, of, curve in curves:
            if of == data:
                again = name in axes.get_legend_handles_labels()[1]  # a further seed
                axes.plot(*zip(*curve), color=f'C{rows.index(name)}', marker='.', label=None if again else name)
        axes.set(xlabel='iteration', ylabel='PSNR (dB)', title=data)
        _finish(axes)
    save(figure, path, dpi=110)
