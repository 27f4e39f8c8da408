"""One Markdown table of test results, or of folders of images against their ground truth."""

import argparse
import csv
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from basicsr.metrics import calculate_psnr, calculate_ssim

from maxl_sr.errors import UserError
from maxl_sr.folders import find
from maxl_sr.formats.heif import HEIC
from maxl_sr.photo import Photo
from maxl_sr.utils.files import check_file, failure, path_argument, shown
from maxl_sr.utils.memory import is_out_of_memory

HEADER = '| Data (images) | Test | noisy | before | after | gain (worst … best) | seconds |\n' + 7 * '|---' + '|'


def _adapted(path: Path) -> str:
    """One row of the table from the CSV file of a data set: means, and the gains of its images."""
    check_file(path)
    try:
        with open(path, encoding='utf-8', newline='') as file:
            rows = list(csv.DictReader(file))
        last = max(int(key.removeprefix('psnr_step')) for key in rows[0] if key.startswith('psnr_step'))
        after = 'after' if 'psnr_after' in rows[0] else f'step{last}'  # with a guard
        kept = (*(f'{name}_{c}' for name in ('psnr', 'ssim') for c in ('noisy', 'before', after)), 'seconds')
        table = {key: np.array([float(row[key]) for row in rows]) for key in kept if key in rows[0]}
        gain = table[f'psnr_{after}'] - table['psnr_before']
        cells = [' / '.join(f'{table[key].mean():.{digits}f}' for key, digits in ((f'psnr_{c}', 2), (f'ssim_{c}', 4))
                            if key in table) for c in ('noisy', 'before', after)]
        cells += [_gain(gain), f'{table["seconds"].mean():.2f}']
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, csv.Error) as error:
        told = 'is no table of a test with the metric psnr'
        if isinstance(error, UnicodeDecodeError):
            told = f'is not UTF-8, so it {told}'
        elif isinstance(error, TypeError):
            told = 'has a row that is too short: it is cut, or no table of a test'
        raise UserError(f'{shown(path)} {told}') from error
    return f'| {shown(path.stem)} ({len(rows)}) | {shown(path.parent.name)} | ' + ' | '.join(cells) + ' |'


def _gain(gain: np.ndarray) -> str:
    return f'{gain.mean():+.3f} ({gain.min():+.3f} … {gain.max():+.3f})'


def _log(path: Path) -> str:
    check_file(path)
    return path.read_text(encoding='utf-8', errors='replace')


def _plain(log: Path) -> dict[str, str]:
    """Rows of the table from the log of a test without adaptation, by data set."""
    rows = {}
    for name, figures in re.findall(r'Validation (.+)\n((?:\t.*\n)+)', _log(log)):
        value = dict(re.findall(r'# (\w+): (\d+(?:\.\d+)?)(?!\S)', figures))
        cell = ' / '.join(f'{float(value[key]):.{digits}f}' for key, digits in (('psnr', 2), ('ssim', 4))
                          if key in value)
        rows[name] = f'| {name} | {shown(log.parent.name)} | | {cell} | | | |'
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


def _read(path: Path) -> np.ndarray:
    """Return an image as BasicSR's tests see it: BGR of 8 bits, turned by the EXIF orientation."""
    if path.suffix.lower() in ('.avif', *HEIC):
        return np.ascontiguousarray(Photo.read(path).shown_array()[..., ::-1])
    check_file(path)
    try:
        # By its bytes: OpenCV takes no name that is not UTF-8
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, OSError, ValueError, MemoryError) as error:
        if is_out_of_memory(error):
            raise UserError(f'there is not enough memory for the image {shown(path)}') from error
        image = None
    if image is None:
        raise UserError(f'cannot read the image {shown(path)}')
    return image


def _by_name(folder: Path) -> dict[str, Path]:
    if not os.path.isdir(folder):
        raise UserError(f'there is no folder {shown(folder)}')
    found: dict[str, Path] = {}
    listed = find(folder)
    for path in listed.files:
        name = path.relative_to(folder).with_suffix('').as_posix()
        if found.setdefault(name, path) is not path:
            raise UserError(f'{shown(path)} and {shown(found[name])} have one name')
    skipped = listed.told()
    if not found:
        raise UserError(f'{shown(folder)} holds no image' + (f'; {skipped}' if skipped else ''))
    if skipped:
        print(f'{shown(folder)}: {skipped}', file=sys.stderr)
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
                raise UserError(f'{shown(folder)} holds no image called {shown(name)}, as {shown(path)}')
            image, clean = _read(given[name]), _read(path)
            if image.shape != clean.shape:
                raise UserError(f'{shown(given[name])} ({image.shape[1]}×{image.shape[0]}) is of another size than '
                                f'{shown(path)} ({clean.shape[1]}×{clean.shape[0]})')
            if min(image.shape[:2]) < 2 * crop_border + 11:  # the window of SSIM
                raise UserError(f'{shown(path)} is too small for these metrics with a border of {crop_border} pixels')
            values.append([metric(image, clean, crop_border=crop_border, test_y_channel=test_y_channel)
                           for metric in (calculate_psnr, calculate_ssim)])
        psnr, ssim = np.array(values).T
        first = psnr if first is None else first
        with np.errstate(invalid='ignore'):  # where both are infinite
            gain = '' if first is psnr else _gain(np.where(psnr == first, 0, psnr - first))
        rows.append(f'| {shown(folder)} ({len(psnr)}) | {psnr.mean():.2f} / {ssim.mean():.4f} | {gain} |')
    return '\n'.join(rows)


def main() -> int:
    """Print the table; return the exit code: 2 for a mistake, 1 where a test did not come to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folders', nargs='+', type=path_argument, metavar='FOLDER',
                        help='results/NAME of tests; with --gt folders of images')
    parser.add_argument('--gt', type=path_argument, help='folder of the ground truth; images are matched by name')
    parser.add_argument('--crop-border', type=int, default=0, metavar='PIXELS',
                        help='with --gt: left out at every side')
    parser.add_argument('--y-channel', action='store_true', help='with --gt: compare the luma')
    args = parser.parse_args()
    try:
        if args.gt is None and (args.crop_border or args.y_channel):
            raise UserError('--crop-border and --y-channel need --gt')
        if args.crop_border < 0:
            raise UserError(f'--crop-border must be at least 0, not {args.crop_border}')
        table, missing = results(args.folders) if args.gt is None else (
            images(args.folders, args.gt, args.crop_border, args.y_channel), [])
        print(table)
        for sentence in missing:
            print(f'error: {sentence}', file=sys.stderr)
        return 1 if missing else 0
    except OSError as error:
        print(f'error: {failure(error)}', file=sys.stderr)
        return 2
    except (UserError, MemoryError) as error:
        print(f'error: {shown(str(error)) or "there is not enough memory"}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
