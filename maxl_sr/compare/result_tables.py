"""The table of test results: from the CSV files where the tests adapt, otherwise from BasicSR's log."""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maxl_sr.errors import UserError
from maxl_sr.utils.files import check_file, shown

HEADER = '| Data (images) | Test | noisy | before | after | gain (worst … best) | seconds |\n' + 7 * '|---' + '|'
MATCHED = '_matched'  # ends the names of the metrics against a ground truth in the light of the noisy image


def _adapted(path: Path) -> str:
    """The rows of the table from the CSV file of a data set: means, and the gains of its images.

    Two where there are the figures against a ground truth in the light of the noisy image, too.
    """
    check_file(path)
    try:
        with open(path, encoding='utf-8', newline='') as file:
            rows = list(csv.DictReader(file))
        after = 'after'  # with a guard, which may have let no step be taken
        if 'psnr_after' not in rows[0]:
            last = max(int(key.removeprefix('psnr_step')) for key in rows[0] if key.startswith('psnr_step'))
            after = f'step{last}'
        kinds = [kind for kind in ('', MATCHED) if f'psnr{kind}_before' in rows[0] or not kind]
        return '\n'.join(_row(path, rows, kind, after) for kind in kinds)
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, csv.Error) as error:
        told = 'is no table of a test with the metric psnr'
        if isinstance(error, UnicodeDecodeError):
            told = f'is not UTF-8, so it {told}'
        elif isinstance(error, TypeError):
            told = 'has a row that is too short: it is cut, or no table of a test'
        raise UserError(f'{shown(path)} {told}') from error


def _row(path: Path, rows: list[dict[str, str]], kind: str, after: str) -> str:
    """The row of the metrics whose names end in `kind`."""
    columns = ('noisy', 'before', after)
    kept = [f'{name}{kind}_{column}' for name in ('psnr', 'ssim') for column in columns]
    table = {key: np.array([float(row[key]) for row in rows]) for key in kept if key in rows[0]}
    cells = [' / '.join(f'{table[key].mean():.{digits}f}'
                        for key, digits in ((f'psnr{kind}_{column}', 2), (f'ssim{kind}_{column}', 4)) if key in table)
             for column in columns]
    seconds = np.mean([float(row['seconds']) for row in rows])
    cells += [gain_cell(table[f'psnr{kind}_{after}'] - table[f'psnr{kind}_before']), f'{seconds:.2f}']
    name = f'{shown(path.stem)} ({len(rows)})' + (', light matched' if kind else '')
    return f'| {name} | {shown(path.parent.name)} | ' + ' | '.join(cells) + ' |'


def gain_cell(gain: np.ndarray) -> str:
    """Return the mean of some gains, and the worst and the best of them."""
    return f'{gain.mean():+.3f} ({gain.min():+.3f} … {gain.max():+.3f})'


def _log(path: Path) -> str:
    check_file(path)
    return path.read_text(encoding='utf-8', errors='replace')


def _plain(log: Path) -> dict[str, str]:
    """Rows of the table from the log of a test without adaptation, by data set."""
    rows = {}
    for name, figures in re.findall(r'Validation (.+)\n((?:\t.*\n)+)', _log(log)):
        value = dict(re.findall(r'# (\w+): (\d+(?:\.\d+)?)(?!\S)', figures))
        of_kind = []
        for kind in [kind for kind in ('', MATCHED) if not kind or f'psnr{kind}' in value]:
            cell = ' / '.join(f'{float(value[key]):.{digits}f}' for key, digits in ((f'psnr{kind}', 2),
                                                                                   (f'ssim{kind}', 4)) if key in value)
            told = f'{name}, light matched' if kind else name
            of_kind.append(f'| {told} | {shown(log.parent.name)} | | {cell} | | | |')
        rows[name] = '\n'.join(of_kind)
    return rows


def results(folders: Sequence[Path]) -> tuple[str, list[str]]:
    """Return the table of tests: from their CSV files where they adapt, otherwise from the log of BasicSR's test.

    Returns:
        The table, and sentences on what is missing in it: data sets whose test did not come to its end.

    Raises:
        UserError: A folder holds neither, or what it holds cannot be read.
    """
    rows, missing = [HEADER], []
    for folder in folders:
        if not os.path.isdir(folder):
            raise UserError(f'there is no folder {shown(folder)}')
        os.scandir(folder).close()  # glob does not tell of a folder that cannot be read
        tables, logs = sorted(folder.glob('*.csv')), sorted(folder.glob('test_*.log'))
        if not tables and not logs:
            raise UserError(f'{shown(folder)} holds no results of a test (NAME.csv or test_….log)')
        made = {path.stem: _adapted(path) for path in tables} if tables else _plain(logs[-1])
        rows += made.values()
        # What BasicSR says of each data set before the first of them is tested
        wanted = re.findall(r'Number of test images in (.+): \d+', _log(logs[-1])) if logs else []
        for name in [name for name in wanted if name not in made] or ([] if made else ['?']):
            rows.append(f'| {name} | {shown(folder.name)} | | unfinished | | | |')
            missing.append(f'{shown(folder)} holds no result' + (f' of {name}' if name != '?' else '') +
                           ': the test did not come to its end')
    return '\n'.join(rows), missing
