"""The JSON files of the rows: what was measured, and means and gains of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from maxl_sr.errors import UserError
from scripts.reproduction.plan import definitions

TRAINED = 'trained rate'  # the reading of the rate whose gains count
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


def mean_gains(results: Results, data: str, reading: str) -> np.ndarray:
    """Return the mean gain over the images, of each seed that adapts."""
    return np.array([gain.mean() for gain in gains(results, data, reading)])


def data_sets(found: dict[str, Results]) -> list[str]:
    """Return the names of the test sets."""
    return list(dict.fromkeys(data for results in found.values() for result in results for data in result['data']))


def noisy_psnr(found: dict[str, Results], data: str) -> float | None:
    """Return the mean PSNR of the noisy images of a test set; None: it was not measured."""
    for results in found.values():
        for result in results:
            if 'noisy' in result['data'].get(data, {}):
                return float(np.mean(result['data'][data]['noisy']['psnr']))
    return None


def mask_mean(result: dict[str, Any]) -> list[list[float]]:
    """Return the mean of the mask in stage 2 by iteration, as pairs; empty: there is none."""
    found: list[list[float]] = result['trainings'].get('stage2', {}).get('mask_mean') or []
    return found


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


def validations(result: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Return the PSNR of every validation set in the last training by iteration, where there are several."""
    last = list(result['trainings'].values())[-1:]
    return {name: curve for training in last for name, curve in training.get('validation', {}).items()
            if len(curve) > 1}
