"""The table of folders of images against their ground truth, by BasicSR's metrics."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.metrics import calculate_psnr, calculate_ssim

from maxl_sr.compare.result_tables import gain_cell
from maxl_sr.errors import UserError
from maxl_sr.folders import find
from maxl_sr.formats.endings import HEIC
from maxl_sr.formats.whole import read_whole
from maxl_sr.metrics.matched_metric import calculate_psnr_matched, calculate_ssim_matched
from maxl_sr.photo import Photo
from maxl_sr.utils.files import check_file, shown


def read_image(path: Path) -> np.ndarray:
    """Return an image as BasicSR's tests see it: BGR of 8 bits, turned by the EXIF orientation."""
    if path.suffix.lower() in ('.avif', *HEIC):
        return np.ascontiguousarray(Photo.read(path).shown_array()[..., ::-1])
    check_file(path)
    return read_whole(path)


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


def paired_files(folder: Path, gt: Path) -> list[tuple[Path, Path]]:
    """Return the images of a folder, each with its ground truth of the same name.

    Raises:
        UserError: A folder or an image is missing.
    """
    truth, given = _by_name(gt), _by_name(folder)
    return [(_partner(folder, given, name, path), path) for name, path in truth.items()]


def _partner(folder: Path, given: Mapping[str, Path], name: str, path: Path) -> Path:
    if name not in given:
        raise UserError(f'{shown(folder)} holds no image called {shown(name)}, as {shown(path)}')
    return given[name]


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
            image, clean = read_image(_partner(folder, given, name, path)), read_image(path)
            if image.shape != clean.shape:
                raise UserError(f'{shown(given[name])} ({image.shape[1]}×{image.shape[0]}) is of another size than '
                                f'{shown(path)} ({clean.shape[1]}×{clean.shape[0]})')
            if min(image.shape[:2]) < 2 * crop_border + 11:  # the window of SSIM
                raise UserError(f'{shown(path)} is too small for these metrics with a border of {crop_border} pixels')
            how: dict[str, Any] = {'crop_border': crop_border, 'test_y_channel': test_y_channel}
            figures = [metric(image, clean, **how) for metric in (calculate_psnr, calculate_ssim)]
            if light:
                how['noisy'] = read_image(noisy[name])
                figures += [metric(image, clean, **how) for metric in (calculate_psnr_matched, calculate_ssim_matched)]
            values.append(figures)
        psnr, ssim, *rest = np.array(values).T
        first = psnr if first is None else first
        with np.errstate(invalid='ignore'):  # where both are infinite
            gain = '' if first is psnr else gain_cell(np.where(psnr == first, 0, psnr - first))
        cell = f' {rest[0].mean():.2f} / {rest[1].mean():.4f} |' if rest else ''
        rows.append(f'| {shown(folder)} ({len(psnr)}) | {psnr.mean():.2f} / {ssim.mean():.4f} |{cell} {gain} |')
    return '\n'.join(rows)
