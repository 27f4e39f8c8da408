"""The networks: whether they can be made, and whether the checkpoints are theirs."""

from os import path as osp
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY

from maxl_sr.errors import UserError
from maxl_sr.meta.network import is_multi_task
from maxl_sr.preflight.sections import telling
from maxl_sr.settings.components import check_component
from maxl_sr.settings.values import check_no_text_numbers
from maxl_sr.utils.checkpoint import read_weights
from maxl_sr.utils.machine import free_memory

LARGEST = 2**14  # of channels, blocks and so on


def check_network(opt: dict[str, Any], name: str, resumed: int | None = None, load: bool = False) -> torch.nn.Module:
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
            net = ARCH_REGISTRY.get(kind)(**arguments)
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


def _check_weights(where: str, net: torch.nn.Module, path: str, weights: dict[str, torch.Tensor]) -> None:
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


def check_scale(net: Any, opt: dict[str, Any]) -> None:
    """One pass through the network gives images of the scale of the option file."""
    size, scale = 32, opt.get('scale', 1)
    with telling('network_g'), torch.no_grad():
        x = torch.full((1, 3, size, size), 0.5)
        heads = is_multi_task(net)
        output = net.eval().forward_heads(net.forward_features(x), x)[0] if heads else net.eval()(x)
    if output.shape != (1, 3, scale * size, scale * size):
        raise UserError(f"network_g: {opt['network_g']['type']} makes {tuple(output.shape[2:])} pixels of "
                        f'{(size, size)}, which does not fit scale: {scale}')
