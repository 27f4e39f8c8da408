"""Print a Markdown table of test results: ``python scripts/table.py results/NAME …``.

For a test with adaptation from its CSV files (mean over the images, smallest and largest gain of an image), for any
other from the log of BasicSR's test.
"""

import csv
import re
import sys
from pathlib import Path

import numpy as np


def adapted(path: Path) -> str:
    """One row of the table from the CSV file of a data set."""
    with open(path) as file:
        rows = list(csv.DictReader(file))
    last = max(int(key.removeprefix('psnr_step')) for key in rows[0] if key.startswith('psnr_step'))
    after = 'after' if 'psnr_after' in rows[0] else f'step{last}'  # with a guard
    kept = (*(f'{name}_{c}' for name in ('psnr', 'ssim') for c in ('noisy', 'before', after)), 'seconds')
    table = {key: np.array([float(row[key]) for row in rows]) for key in kept if key in rows[0]}
    gain = table[f'psnr_{after}'] - table['psnr_before']
    cells = [' / '.join(f'{table[key].mean():.{digits}f}' for key, digits in ((f'psnr_{c}', 2), (f'ssim_{c}', 4))
                        if key in table) for c in ('noisy', 'before', after)]
    cells += [f'{gain.mean():+.3f} ({gain.min():+.3f} … {gain.max():+.3f})', f'{table["seconds"].mean():.2f}']
    return f'| {path.stem} ({len(rows)}) | {path.parent.name} | ' + ' | '.join(cells) + ' |'


def plain(log: Path) -> list[str]:
    """Rows of the table from the log of a test without adaptation."""
    rows = []
    for name, figures in re.findall(r'Validation (.+)\n((?:\t.*\n)+)', log.read_text()):
        value = dict(re.findall(r'# (\w+): ([\d.]+)', figures))
        rows.append(f'| {name} | {log.parent.name} | | {float(value["psnr"]):.2f} / {float(value["ssim"]):.4f} | | | |')
    return rows


def main() -> None:
    """Print the table of the folders named on the command line."""
    print('| Data (images) | Test | noisy | before | after | gain (worst … best) | seconds |\n' + 7 * '|---' + '|')
    for folder in map(Path, sys.argv[1:]):
        tables = sorted(folder.glob('*.csv'))
        rows = [adapted(path) for path in tables] if tables else plain(max(folder.glob('test_*.log')))
        print('\n'.join(rows))


if __name__ == '__main__':
    main()
