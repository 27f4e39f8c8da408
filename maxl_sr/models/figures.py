"""Figures and pictures of images before and after adaptation."""

import csv
from collections.abc import Mapping
from os import path as osp
from pathlib import Path
from typing import Any

from basicsr.metrics import calculate_metric
from basicsr.utils import imwrite, tensor2img
from torch import Tensor

from maxl_sr.archs.multitask_arch import enlarge
from maxl_sr.models.adapted import Adapted
from maxl_sr.utils.files import replacing

BEFORE = '_before'  # ends the name of a figure before adaptation
KINDS = {'noisy': 'lq', 'before': 'before', 'after': 'result', 'gt': 'gt', 'mask': 'mask'}  # of pictures


class Figures:
    """The figures of a data set, a row an image, and its pictures.

    Args:
        opt: The options.
        data: Those of the data set.
        current_iter: Iteration of the training.
        save_img: Whether the pictures are written.

    Attributes:
        rows: The figures by the name of their column, in the order of the images.
        mask: Name of the first image and its mask ``(1, H, W)``; None: there is no mask network.
    """

    def __init__(self, opt: Mapping[str, Any], data: Mapping[str, Any], current_iter: int | str,
                 save_img: bool) -> None:
        self.rows: list[dict[str, Any]] = []
        self.mask: tuple[str, Tensor] | None = None
        self._opt, self._name, self._current_iter, self._save_img = opt, data['name'], current_iter, save_img
        # Every s-th pixel: the enlargement, centred, lies half a pixel beside the ground truth
        self._aligned = (data.get('degradation') or {}).get('downsample') != 'direct'

    def add(self, name: str, visuals: Mapping[str, Tensor], adapted: Adapted) -> dict[str, float]:
        """Add an image, save its pictures, and return its figures before adaptation by the name of the metric.

        Args:
            name: Of the image.
            visuals: The images 'lq', 'before', 'result' and, where they are there, 'gt' and 'mask'.
            adapted: What was found for it.
        """
        images = {kind: tensor2img([visuals[key]]) for kind, key in KINDS.items() if key in visuals}
        scale = self._opt.get('scale', 1)
        # For super-resolution the image to compare with is the bicubic enlargement
        degraded = images['noisy'] if scale == 1 else tensor2img([enlarge(visuals['lq'], scale)])
        row: dict[str, Any] = {'image': name}
        against = {'img2': images['gt']} if 'gt' in images else {}
        metrics = self._opt['val'].get('metrics') or {}
        for metric, section in metrics.items():
            figures = {BEFORE: images['before']}
            if self._aligned:
                figures = {'_noisy': degraded, **figures}
            figures |= {f'_step{step}': image for step, image in enumerate(adapted.after_step, start=1)}
            if adapted.guard_step is not None:
                figures['_after'] = images['after']
            for column, image in figures.items():
                row[metric + column] = calculate_metric({'img': image, **against}, section)
        if adapted.guard_step is not None:
            row['guard_step'] = adapted.guard_step
        row['seconds'] = adapted.seconds
        if self.mask is None and 'mask' in visuals:
            self.mask = name, visuals['mask'][0]
        self.rows.append(row)
        if self._save_img:
            for kind, image in images.items():
                imwrite(image, f'{self._stem(name)}_{kind}.png')
        return {metric: row[metric + BEFORE] for metric in metrics}

    def show(self, tb_logger: Any) -> None:
        """Show the mask of the first image in TensorBoard, where one is written for: how it changes in the training."""
        if tb_logger and self.mask is not None:
            name, mask = self.mask
            tb_logger.add_image(f'masks/{self._name}/{name}', mask.float(), self._current_iter)

    def _stem(self, name: str) -> str:
        root = self._opt['path']['visualization']
        if self._opt['is_train']:
            return osp.join(root, name, f'{name}_{self._current_iter}')
        suffix = self._opt['val'].get('suffix')
        return osp.join(root, self._name, name + (f'_{suffix}' if suffix else ''))

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write these rows, of all processes, to the CSV file of the data set."""
        path = Path(self._opt['path']['results_root'], f'{self._name}.csv')
        # A name that is no text is written with escapes
        with replacing(path) as partial, open(partial, 'w', newline='', encoding='utf-8',
                                              errors='backslashreplace') as file:
            # The longest: the guard may have stopped others after fewer steps, the rest of whose columns is empty
            writer = csv.DictWriter(file, fieldnames=max((list(row) for row in rows), key=len))
            writer.writeheader()
            writer.writerows(rows)
