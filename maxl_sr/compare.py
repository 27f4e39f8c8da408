"""One Markdown table of test results, or of folders of images against their ground truth."""

import argparse
import csv
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
import cv2
import numpy as np
from basicsr.metrics import calculate_psnr, calculate_ssim

from maxl_sr.errors import UserError
from maxl_sr.folders import find
from maxl_sr.formats.heif import HEIC
from maxl_sr.metrics.matched_metric import calculate_psnr_matched, calculate_ssim_matched
from maxl_sr.photo import Photo
from maxl_sr.utils.files import check_file, failure, path_argument, shown
from maxl_sr.utils.memory import is_out_of_memory

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
        last = max(int(key.removeprefix('psnr_step')) for key in rows[0] if key.startswith('psnr_step'))
        after = 'after' if 'psnr_after' in rows[0] else f'step{last}'  # with a guard
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
    cells += [_gain(table[f'psnr{kind}_{after}'] - table[f'psnr{kind}_before']), f'{seconds:.2f}']
    name = f'{shown(path.stem)} ({len(rows)})' + (', light matched' if kind else '')
    return f'| {name} | {shown(path.parent.name)} | ' + ' | '.join(cells) + ' |'


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


def images(folders: Sequence[Path], gt: Path, crop_border: int = 0, test_y_channel: bool = False,
           light: bool = False) -> str:
    """Return the table of folders of images against `gt`: mean PSNR (dB), SSIM, and the gain over the first folder.

    Images are compared under equal names, whatever their endings, with 8 bits, by BasicSR's metrics.

    Args:
        folders: What is compared; each needs an image for each of `gt`.
        gt: Folder of the ground truth.
        crop_border: Pixels that are left out at every side.
        test_y_channel: Whether the luma is compared, in place of RGB.
        light: Whether there are also figures against the ground truth with the channel means of the images of the first
            folder, the noisy ones.

    Raises:
        UserError: An image is missing, cannot be read, or is of another size than its ground truth.
    """
    truth = _by_name(gt)
    column = ' light matched |' if light else ''
    rows = [f'| Folder (images) | PSNR / SSIM |{column} gain (worst … best) |', (4 if light else 3) * '|---' + '|']
    first: np.ndarray | None = None
    noisy = _by_name(folders[0]) if light else {}
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
            how: dict[str, Any] = {'crop_border': crop_border, 'test_y_channel': test_y_channel}
            figures = [metric(image, clean, **how) for metric in (calculate_psnr, calculate_ssim)]
            if light:
                how['noisy'] = _read(noisy[name])
                figures += [metric(image, clean, **how) for metric in (calculate_psnr_matched, calculate_ssim_matched)]
            values.append(figures)
        psnr, ssim, *rest = np.array(values).T
        first = psnr if first is None else first
        with np.errstate(invalid='ignore'):  # where both are infinite
            gain = '' if first is psnr else _gain(np.where(psnr == first, 0, psnr - first))
        cell = f' {rest[0].mean():.2f} / {rest[1].mean():.4f} |' if rest else ''
        rows.append(f'| {shown(folder)} ({len(psnr)}) | {psnr.mean():.2f} / {ssim.mean():.4f} |{cell} {gain} |')
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
    parser.add_argument('--matched', action='store_true',
                        help='with --gt: also against the ground truth in the light of the images of the first FOLDER, '
                             'the noisy ones')
    args = parser.parse_args()
    try:
        if args.gt is None and (args.crop_border or args.y_channel or args.matched):
            raise UserError('--crop-border, --y-channel and --matched need --gt')
        if args.crop_border < 0:
            raise UserError(f'--crop-border must be at least 0, not {args.crop_border}')
        table, missing = results(args.folders) if args.gt is None else (
            images(args.folders, args.gt, args.crop_border, args.y_channel, args.matched), [])
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
