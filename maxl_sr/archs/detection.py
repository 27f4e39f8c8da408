"""The arguments of a multi-task network from its weights alone."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet
from maxl_sr.errors import UserError

NETWORKS: dict[str, type[MultiTaskNet]] = {'MultiTaskNet': MultiTaskNet, 'ParallelMultiTaskNet': ParallelMultiTaskNet}
FEAT_STEP = 16  # of a network of one level, in which it does nothing


def _count(weights: Mapping[str, Any], name: str, last: str) -> int:
    """Return how many of ``name.0last``, ``name.1last``, … there are."""
    number = 0
    while f'{name}.{number}{last}' in weights:
        number += 1
    return number


def _read(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    num_feat, num_ch = weights['body.conv_first.weight'].shape[:2]
    num_level = _count(weights, 'body.encoders', '.0.conv1.weight')
    wider = weights['body.encoders.1.0.conv1.weight'].shape[0] if num_level > 1 else num_feat + FEAT_STEP
    num_primary_block = _count(weights, 'primary_head', '.conv1.weight')
    parallel = 'aux_head.0.conv1.weight' in weights
    num_aux_block = _count(weights, 'aux_head', '.conv1.weight') if parallel else (
        len([name for name in weights if name.startswith('aux_head.') and name.endswith('.conv1.weight')]))
    return {
        'type': 'ParallelMultiTaskNet' if parallel else 'MultiTaskNet',
        'num_in_ch': num_ch,
        'num_out_ch': num_ch,
        'num_feat': num_feat,
        'feat_step': wider - num_feat,
        'num_block': _count(weights, 'body.encoders.0', '.conv1.weight'),
        'scale': math.isqrt(weights[f'primary_head.{num_primary_block}.weight'].shape[0] // num_ch),
        'num_level': num_level,
        'num_primary_block': num_primary_block,
        'num_aux_block': num_aux_block,
    }


def detect(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the network that weights are of, as the section ``network_g`` of an option file: type and arguments.

    Args:
        state_dict: The weights by name. Every name and shape must be one of the network, and none be missing.

    Raises:
        UserError: They are the weights of no multi-task network.
    """
    none = 'these are not the weights of a MultiTaskNet or ParallelMultiTaskNet'
    if 'body.conv_first.weight' not in state_dict:
        raise UserError(f'{none}: there is no body.conv_first.weight')
    try:
        section = _read(state_dict)
        with torch.device('meta'):
            net = NETWORKS[section['type']](**{key: value for key, value in section.items() if key != 'type'})
        given = {name: tuple(weight.shape) for name, weight in state_dict.items()}
    except KeyError as error:
        raise UserError(f'{none}: there is no {error.args[0]}') from error
    except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f'{none}: {error}') from error
    expected = {name: tuple(weight.shape) for name, weight in net.state_dict().items()}
    for name in sorted(expected.keys() | given.keys()):
        if name not in given:
            raise UserError(f'{none}: there is no {name}')
        if given[name] != expected.get(name):
            wanted = f'not of {expected[name]}' if name in expected else 'which they do not have'
            raise UserError(f'{none}: {name} is of the shape {given[name]}, {wanted}')
    return section
