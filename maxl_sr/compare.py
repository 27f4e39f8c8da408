"""One Markdown table of test results, or of folders of images against their ground truth."""

import argparse
import csv
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from basicsr.metrics import calculate_psnr, calculate_ssim

from maxl_sr.errors import UserError
from maxl_sr.folders import find

HEADER = '| Data (images) | Test | noisy | before | after | gain (worst … best) | seconds |\n' + 7 * '|---' + '|'


def _adapted(path: Path) -> str:
    """One row of the table from the CSV file of a data set: means, and the gains of its images."""
    with open(path, encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    try:
        last = max(int(key.removeprefix('psnr_step')) for key in rows[0] if key.startswith('psnr_step'))
        after = 'after' if 'psnr_after' in rows[0] else f'step{last}'  # with a guard
        kept = (*(f'{name}_{c}' for name in ('psnr', 'ssim') for c in ('noisy', 'before', after)), 'seconds')
        table = {key: np.array([float(row[key]) for row in rows]) for key in kept if key in rows[0]}
        gain = table[f'psnr_{after}'] - table['psnr_before']
        cells = [' / '.join(f'{table[key].mean():.{digits}f}' for key, digits in ((f'psnr_{c}', 2), (f'ssim_{c}', 4))
                            if key in table) for c in ('noisy', 'before', after)]
        cells += [_gain(gain), f'{table["seconds"].mean():.2f}']
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(f'{path} is no table of a test with the metric psnr') from error
    return f'| {path.stem} ({len(rows)}) | {path.parent.name} | ' + ' | '.join(cells) + ' |'


def _gain(gain: np.ndarray) -> str:
    return f'{gain.mean():+.3f} ({gain.min():+.3f} … {gain.max():+.3f})'


def _plain(log: Path) -> list[str]:
    """Rows of the table from the log of a test without adaptation."""
    rows = []
    for name, figures in re.findall(r'Validation (.+)\n((?:\t.*\n)+)', log.read_text(encoding='utf-8')):
        value = dict(re.findall(r'# (\w+): ([\d.]+)', figures))
        cell = ' / '.join(f'{float(value[key]):.{digits}f}' for key, digits in (('psnr', 2), ('ssim', 4))
                          if key in value)
        rows.append(f'| {name} | {log.parent.name} | | {cell} | | | |')
    return rows


def results(folders: Sequence[Path]) -> str:
    """Return the table of tests: from their CSV files where they adapt, otherwise from the log of BasicSR's test.

    Raises:
        UserError: A folder holds neither.
    """
    rows = [HEADER]
    for folder in folders:
        tables, logs = sorted(folder.glob('*.csv')), sorted(folder.glob('test_*.log'))
        if not tables and not logs:
            raise UserError(f'{folder} holds no results of a test (NAME.csv or test_….log)')
        rows += [_adapted(path) for path in tables] if tables else _plain(logs[-1])
    return '\n'.join(rows)


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))  # grey becomes three channels, 16 bits become 8, as in BasicSR's tests
    if image is None:
        raise UserError(f'cannot read the image {path}')
    return image


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise UserError(f'there is no folder {folder}')
    found: dict[str, Path] = {}
    for path in find(folder).files:
        name = path.relative_to(folder).with_suffix('').as_posix()
        if found.setdefault(name, path) is not path:
            raise UserError(f'{path} and {found[name]} have one name')
    if not found:
        raise UserError(f'{folder} holds no image')
    return found


def images(folders: Sequence[Path], gt: Path, crop_border: int = 0, test_y_channel: bool = False) -> str:
    """Return the table of folders of images against `gt`: mean PSNR (dB), SSIM, and the gain over the first folder.

    Images are compared under equal names, whatever their endings, with 8 bits, by BasicSR's metrics.

    Args:
        folders: What is compared; each needs an image for each of `gt`.
        gt: Folder of the ground truth.
        crop_border: Pixels that are left out at every side.
        test_y_channel: Whether the luma is compared, in place of RGB.

    Raises:
        UserError: An image is missing, cannot be read, or is of another size than its ground truth.
    """
    truth = _by_name(gt)
    rows = ['| Folder (images) | PSNR / SSIM | gain (worst … best) |', 3 * '|---' + '|']
    first: np.ndarray | None = None
    for folder in folders:
        given, values = _by_name(folder), []
        for name, path in truth.items():
            if name not in given:
                raise UserError(f'{folder} holds no image called {name}, as {path}')
            image, clean = _read(given[name]), _read(path)
            if image.shape != clean.shape:
                raise UserError(f'{given[name]} ({image.shape[1]}×{image.shape[0]}) is of another size than {path} '
                                f'({clean.shape[1]}×{clean.shape[0]})')
            if min(image.shape[:2]) < 2 * crop_border + 11:  # the window of SSIM
                raise UserError(f'{path} is too small for these metrics with a border of {crop_border} pixels')
            values.append([metric(image, clean, crop_border=crop_border, test_y_channel=test_y_channel)
                           for metric in (calculate_psnr, calculate_ssim)])
        psnr, ssim = np.array(values).T
        first = psnr if first is None else first
        with np.errstate(invalid='ignore'):  # where both are infinite
            gain = '' if first is psnr else _gain(np.where(psnr == first, 0, psnr - first))
        rows.append(f'| {folder} ({len(psnr)}) | {psnr.mean():.2f} / {ssim.mean():.4f} | {gain} |')
    return '\n'.join(rows)


def main() -> int:
    """Print the table; return the exit code: 2 for a mistake."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folders', nargs='+', type=Path, metavar='FOLDER',
                        help='results/NAME of tests; with --gt folders of images')
    parser.add_argument('--gt', type=Path, help='folder of the ground truth; images are matched by name')
    parser.add_argument('--crop-border', type=int, default=0, metavar='PIXELS',
                        help='with --gt: left out at every side')
    parser.add_argument('--y-channel', action='store_true', help='with --gt: compare the luma')
    args = parser.parse_args()
    try:
        if args.gt is None and (args.crop_border or args.y_channel):
            raise UserError('--crop-border and --y-channel need --gt')
        if args.crop_border < 0:
            raise UserError(f'--crop-border must be at least 0, not {args.crop_border}')
        print(results(args.folders) if args.gt is None
              else images(args.folders, args.gt, args.crop_border, args.y_channel))
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
