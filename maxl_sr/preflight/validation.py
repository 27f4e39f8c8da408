"""The section ``val``: metrics, and whether they can be computed on the images."""

import functools
import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY

from maxl_sr.errors import UserError
from maxl_sr.preflight.sections import check_bool, require
from maxl_sr.settings.option_file import check_name
from maxl_sr.settings.values import check_choice, check_count, check_keys, check_no_text_numbers, names


def check_validation(opt: dict[str, Any]) -> None:
    """Check what BasicSR itself reads of the section ``val``."""
    if opt.get('val') is None:
        if opt['is_train']:
            return
        raise UserError("the option file: key 'val' is missing")
    val = opt['val']
    require('val', val, ('save_img', 'val_freq') if opt['is_train'] else ('save_img', ))
    check_bool('val', val, 'save_img', 'pbar')
    if val['save_img'] and not opt['is_train'] and 'suffix' not in val:
        raise UserError("val: key 'suffix' is missing (~ takes the name of the option file)")
    if val.get('suffix') is not None:
        check_name('val: suffix', val['suffix'])
    if opt['is_train']:
        check_count('val: val_freq', val['val_freq'])
    metrics = val.get('metrics') or {}
    require('val: metrics', metrics, ())
    for name, metric in metrics.items():
        _check_metric(f'val: metrics: {name}', metric)
        if f'{name}_before' in metrics:
            raise UserError(f"val: metrics: '{name}_before' is the name of the figure of '{name}' before adaptation")


def _check_metric(where: str, metric: Any) -> None:
    require(where, metric, ('type', ))
    check_choice(f'{where}: type', metric['type'], names(METRIC_REGISTRY))
    named = {p.name: p for p in inspect.signature(METRIC_REGISTRY.get(metric['type'])).parameters.values()
             if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in ('img', 'img2')}
    # BasicSR's metrics take any key and pass over those that they do not know
    check_keys(where, metric, ('type', 'better', *named))
    require(where, metric, [name for name, p in named.items() if p.default is p.empty])
    check_no_text_numbers(where, metric)
    check_choice(f'{where}: better', metric.get('better', 'higher'), ('higher', 'lower'))
    check_bool(where, metric, *(name for name, p in named.items() if isinstance(p.default, bool)))
    if 'crop_border' in named:
        border = metric.get('crop_border', 0)
        check_count(f'{where}: crop_border', border, low=0)
        if not isinstance(border, int):
            raise UserError(f'{where}: crop_border must be an integer, not {border!r}')
    if metric.get('input_order', 'HWC') != 'HWC':
        raise UserError(f"{where}: input_order must be HWC, as images are tested, not {metric['input_order']!r}")


def check_metrics_on(opt: Mapping[str, Any], smallest: Mapping[str, tuple[str, tuple[int, int]]]) -> None:
    """Refuse a metric that cannot be computed on the smallest image of a data set.

    Args:
        opt: The options.
        smallest: Name, and width and height, of the smallest ground truth, by data set.
    """
    metrics = (opt.get('val') or {}).get('metrics') or {}
    for name, metric in metrics.items():
        for dataset, (image, (width, height)) in smallest.items():
            rng = np.random.default_rng(0)
            picture = functools.partial(rng.integers, 0, 256, dtype=np.uint8)
            data = {'img': picture((height, width, 3)), 'img2': picture((height, width, 3))}
            if 'noisy' in inspect.signature(METRIC_REGISTRY.get(metric['type'])).parameters:
                scale = opt.get('scale', 1)
                data['noisy'] = picture((height // scale, width // scale, 3))
            told = ''
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter('ignore')
                    value = float(calculate_metric(data, metric))
            except Exception as error:
                told = f': {" ".join(str(error).split())}'
                value = math.nan
            if not math.isfinite(value):
                raise UserError(f'val: metrics: {name}: {metric["type"]} with crop_border '
                                f'{metric.get("crop_border", 0)} makes no number of {image} ({width}×{height}), the '
                                f'smallest image of {dataset}{told}')
