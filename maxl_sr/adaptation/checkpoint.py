"""Checkpoints: the weights of a network and its learned inner rates, in whatever file others have saved them.

They are found without a guess, and looked at before they are used.
"""

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from os import path as osp
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from maxl_sr.errors import UserError, telling
from maxl_sr.meta import InnerRates, adaptable_weights
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.settings.components import check_component
from maxl_sr.settings.values import check_no_text_numbers
from maxl_sr.utils.machine import free_memory

RATES_KEY = 'inner_rates'  # beside params in net_g_*.pth
LARGEST = 2**14  # of channels, blocks and so on

# What was read since keep(), by path, time and size of the file
_kept: ContextVar[dict[tuple[str, int, int], Any] | None] = ContextVar('_kept', default=None)


def keep() -> None:
    """Let every file be read once from here on, until :func:`forget`: at a start several look at the same one."""
    _kept.set({})


def forget() -> None:
    """Give back the memory of what was read since :func:`keep`."""
    _kept.set(None)


@contextmanager
def read_once() -> Iterator[None]:
    """Read every file once within this block."""
    before = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(before)


def load_checkpoint(where: str, path: str) -> Any:
    """Return what torch, or safetensors, saved in a file; it is not to be changed.

    Raises:
        UserError: It cannot be read; the message names it.
    """
    if not osp.isfile(path):
        raise UserError(f'{where}: there is no file {path}')
    try:
        with open(path, 'rb') as file:
            found = os.fstat(file.fileno())
    except OSError as error:
        raise UserError(f'{where}: cannot read {path}: {error.strerror}') from error
    kept, key = _kept.get(), (osp.abspath(path), found.st_mtime_ns, found.st_size)
    if kept is not None and key in kept:
        return kept[key]
    content = _loaded(where, path)
    if kept is not None:
        kept[key] = content
    return content


def _loaded(where: str, path: str) -> Any:
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


def find_weights_key(where: str, path: str, saved: object, param_key: str | None) -> str | None:
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
    own: list[str] = [key for key, value in saved.items() if key != RATES_KEY and _is_weights(value)]
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


def saved_rates(path: str | None) -> InnerRates | None:
    """Return the learned inner rates that a checkpoint of the multi-task network holds, if it does."""
    if path is None or not osp.isfile(path):  # a resumed training does not need the one that it began with
        return None
    where = 'path: pretrain_network_g'
    saved = load_checkpoint(where, path)
    if not isinstance(saved, Mapping) or RATES_KEY not in saved:
        return None
    state = saved[RATES_KEY]
    whole = isinstance(state, Mapping) and isinstance(state.get('covers_all'), Tensor) and len(state) > 1 and all(
        isinstance(value, Tensor) and value.numel() and (key == 'covers_all' or value.dim() and
                                                         value.is_floating_point() and key.startswith('log_rates.'))
        for key, value in state.items())
    if not whole or state['covers_all'].numel() != 1:
        raise UserError(f"{where}: {path}: what it has under '{RATES_KEY}' are no inner rates")
    check_finite(f'{where}: {path}: {RATES_KEY}', state)
    return InnerRates.from_state_dict(state)


def check_rates(rates: InnerRates, net: nn.Module, options: Adapt | None = None) -> None:
    """Refuse inner rates that lack one for a weight of `net` that adapts.

    Args:
        rates: The rates.
        net: The network.
        options: The section ``val: adapt`` that says what adapts and how; None: what they were learned for.

    Raises:
        UserError: The message names the first weight, or what the rates are for.
    """
    where = 'val: adapt: the learned rates are those of'
    if options is not None and options.optimizer != 'sgd':
        raise UserError(f'{where} optimizer: sgd; give a lr for {options.optimizer}')
    params = rates.params() if options is None else options.params
    lost = sorted(adaptable_weights(net, params).keys() - set(rates.names()))
    if lost and params != rates.params():
        raise UserError(f'{where} params: {rates.params()}; give a lr for {params}')
    if lost:
        raise UserError(f'path: pretrain_network_g: its inner rates lack one for {lost[0]}, which adapts; they were '
                        'learned with another head')


def with_rates(net: nn.Module | list[nn.Module], key: str | list[str],
               rates: InnerRates) -> tuple[list[nn.Module], list[str]]:
    """Return what BasicSR's ``save_network`` is to save, and under which keys, with the inner rates beside it."""
    nets, keys = net if isinstance(net, list) else [net], key if isinstance(key, list) else [key]
    return [*nets, rates], [*keys, RATES_KEY]


def make_network(opt: Mapping[str, Any], name: str, resumed: int | None = None, load: bool = False) -> nn.Module:
    """Return the network that the section `name` describes, after a look at its checkpoint.

    Args:
        opt: The options.
        name: ``network_g`` or another.
        resumed: The iteration from which a training is resumed.
        load: Whether the network gets the weights of the checkpoint.

    Raises:
        UserError: The network cannot be made, or the checkpoint is none of it.
    """
    arguments = check_component(name, opt[name], ARCH_REGISTRY)
    check_no_text_numbers(name, arguments)
    kind = opt[name]['type']
    _check_size(f'{name}: {kind}', name, ARCH_REGISTRY.get(kind), arguments)
    try:
        with torch.random.fork_rng():  # a look at the network does not change the training's random numbers
            net: nn.Module = ARCH_REGISTRY.get(kind)(**arguments)
    except Exception as error:
        raise UserError(f'{name}: {kind}: {error}') from error
    where = f'path: pretrain_{name}'
    path = opt['path'].get(f'pretrain_{name}')
    label = name.removeprefix('network_')
    param_key = opt['path'].get(f'param_key_{label}', 'params')
    if resumed is not None and name not in (opt['path'].get('ignore_resume_networks') or ()):
        where = 'path: resume_state'  # as BasicSR's check_resume
        path = osp.join(opt['path']['models'], f'net_{label}_{resumed}.pth')
        param_key = 'params'
    if path is not None:
        strict = opt['path'].get(f'strict_load_{label}', True)
        _, weights = read_weights(where, path, param_key)
        if strict:
            _check_weights(where, net, path, weights)
        if load:
            with telling(f'{where}: {path}'):
                net.load_state_dict(weights, strict)
    return net


def _check_size(where: str, name: str, network: Any, arguments: dict[str, Any]) -> None:
    """Refuse a network that does not fit into the memory, before it takes it."""
    for key, value in arguments.items():
        if isinstance(value, int) and abs(value) > LARGEST:
            raise UserError(f'{name}: {key} must be at most {LARGEST}, not {value}')
    try:
        with torch.device('meta'), torch.random.fork_rng():  # shapes alone
            net = network(**arguments)
    except Exception:  # it looks at values while it is made, or cannot be made: told later
        return
    needed = sum(weight.numel() * weight.element_size() for weight in net.state_dict().values())
    free = free_memory(torch.device('cpu'))
    if needed > free:
        raise UserError(f'{where}: its weights take {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free')


def _check_weights(where: str, net: nn.Module, path: str, weights: dict[str, Tensor]) -> None:
    own = net.state_dict()
    kind = type(net).__name__
    for key in sorted(own.keys() ^ weights.keys()):
        which = 'lacks' if key in own else f'is not of a {kind}: it has'
        raise UserError(f"{where}: {path} {which} '{key}'; it is a checkpoint of another network than this {kind}")
    for key, value in own.items():
        if value.shape != weights[key].shape:
            raise UserError(f"{where}: {path} is a checkpoint of another {kind}: '{key}' is "
                            f'{tuple(weights[key].shape)} there and {tuple(value.shape)} here')
        if value.is_floating_point() and not weights[key].is_floating_point():
            raise UserError(f"{where}: {path}: '{key}' holds {weights[key].dtype}, which are no weights of a network")
