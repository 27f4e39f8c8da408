"""Weights as others save them: found in a file without a guess, and looked at before they are used."""

import importlib
from collections.abc import Mapping
from os import path as osp
from typing import Any

import torch
from torch import Tensor

from maxl_sr.errors import UserError

RATES_KEY = 'inner_rates'  # beside params in net_g_*.pth


def load_checkpoint(where: str, path: str) -> Any:
    """Return what torch, or safetensors, saved in a file, or raise ``UserError`` that names it."""
    if not osp.isfile(path):
        raise UserError(f'{where}: there is no file {path}')
    try:
        with open(path, 'rb'):
            pass
    except OSError as error:
        raise UserError(f'{where}: cannot read {path}: {error.strerror}') from error
    try:
        if str(path).lower().endswith('.safetensors'):
            return importlib.import_module('safetensors.torch').load_file(path)
        return torch.load(path, map_location='cpu', weights_only=True)
    except ModuleNotFoundError as error:
        raise UserError(f"{where}: {path} needs pip install 'maxl_sr[export]': there is no {error.name}") from error
    except Exception as error:
        raise UserError(f'{where}: {path} is no checkpoint of torch, or not a whole one') from error


def _is_weights(value: Any) -> bool:
    return (isinstance(value, Mapping) and len(value) > 0 and all(isinstance(key, str) for key in value)
            and all(isinstance(item, Tensor) for item in value.values()))


def find_weights_key(where: str, path: str, saved: Any, param_key: str | None) -> str | None:
    """Return the key of a checkpoint under which the weights of a network are; None: they are all that it holds.

    That is `param_key` where it is there, ``params`` in place of a missing ``params_ema``, as BasicSR has it, and the
    only weights of the file where it has neither.

    Raises:
        UserError: There are no weights, or several; the message names the keys and the option that chooses.
    """
    if not isinstance(saved, Mapping):
        raise UserError(f'{where}: {path} holds no weights of a network')
    if param_key is None or param_key in saved:
        if _is_weights(saved if param_key is None else saved[param_key]):
            return param_key
        if param_key is not None:
            raise UserError(f"{where}: {path} holds no weights of a network under '{param_key}'")
    elif param_key == 'params_ema' and _is_weights(saved.get('params')):
        return 'params'
    own = [key for key, value in saved.items() if key != RATES_KEY and _is_weights(value)]
    option = where.split('pretrain_network')[-1] if 'pretrain_network' in where else '_g'
    if param_key in ('params', 'params_ema'):
        if len(own) == 1:
            return own[0]
        if _is_weights(saved):
            return None
    held = ', '.join(f"'{key}'" for key in own) or (
        f'only {", ".join(repr(key) for key in list(saved)[:5])}' if saved else 'nothing')
    wanted = 'its outermost level' if param_key is None else f"the key '{param_key}'"
    raise UserError(f'{where}: {path} has no weights under {wanted}; it has {held}'
                    + (f'; path: param_key{option} chooses' if own else ''))


def read_weights(where: str, path: str, param_key: str | None) -> tuple[str | None, dict[str, Tensor]]:
    """Return the key and the weights of a checkpoint, by :func:`find_weights_key`, as they can be loaded.

    Raises:
        UserError: There are none, or one is not finite or has no values.
    """
    saved = load_checkpoint(where, path)
    key = find_weights_key(where, path, saved, param_key)
    weights = {name.removeprefix('module.'): value for name, value in (saved if key is None else saved[key]).items()}
    check_finite(f'{where}: {path}', weights)
    return key, weights


def check_finite(where: str, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that are on no device, are not dense, or hold NaN or infinity."""
    for name, value in weights.items():
        if value.is_meta or value.layout != torch.strided or value.is_quantized or value.is_complex():
            kind = 'has no values' if value.is_meta else 'is no array of real numbers'
            raise UserError(f"{where}: '{name}' {kind}")
        if not torch.isfinite(value).all():
            raise UserError(f"{where}: '{name}' holds NaN or infinite values; the file is of a training that failed")
