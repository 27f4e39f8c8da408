"""Losses and inner objectives made of their sections, and tried."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from maxl_sr.errors import UserError
from maxl_sr.meta.objective import Objective, same_size
from maxl_sr.settings.components import check_component, check_objective_section
from maxl_sr.settings.values import check_finite, check_no_text_numbers


def _built(where: str, kind: str, arguments: Mapping[str, Any]) -> Any:
    if arguments.get('reduction') == 'none':
        raise UserError(f"{where}: reduction cannot be 'none': a loss must be one number")
    try:
        return LOSS_REGISTRY.get(kind)(**arguments)
    except (ValueError, TypeError) as error:
        raise UserError(f'{where}: {error}') from error


def check_like_defaults(where: str, given: Any) -> None:
    """Refuse a loss of BasicSR's own models with an argument that is not of the kind of the constructor's default.

    BasicSR takes them as they are; a text in place of a number ends a training in its first iteration.

    Raises:
        UserError: As :func:`check_component`, or an argument is no number, or not true or false, where it must be.
    """
    arguments = check_component(where, given, LOSS_REGISTRY)
    check_no_text_numbers(where, arguments)
    for parameter in inspect.signature(LOSS_REGISTRY.get(given['type'])).parameters.values():
        value, usual = arguments.get(parameter.name, parameter.default), parameter.default
        if isinstance(usual, bool) and not isinstance(value, bool):
            raise UserError(f'{where}: {parameter.name} must be true or false, not {value!r}')
        if isinstance(usual, (int, float)) and not isinstance(usual, bool):
            check_finite(f'{where}: {parameter.name}', value)


def check_loss(where: str, given: Any) -> Any:
    """Return the loss of two images that the section `given` describes, without BasicSR's log line.

    Raises:
        UserError: As :func:`check_component`, or the loss refuses an argument, is an inner objective only, or does not
            make one number of two images.
    """
    arguments = check_component(where, given, LOSS_REGISTRY)
    check_no_text_numbers(where, arguments)
    if 'loss_weight' in arguments:
        check_finite(f'{where}: loss_weight', arguments['loss_weight'])
    loss = _built(where, given['type'], arguments)
    if type(loss).forward is nn.Module.forward:
        raise UserError(f"{where}: {given['type']} is an inner objective, for aux_opt, and no loss of two images")
    try:
        with torch.no_grad():
            value = loss(torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64))
    except Exception as error:
        raise UserError(f"{where}: {given['type']} is no loss of two images: {' '.join(str(error).split())}") from error
    if not isinstance(value, torch.Tensor) or value.dim():
        raise UserError(f"{where}: {given['type']} does not make one number of two images")
    return loss


def check_objective(where: str, given: Any, scale: Any = 1) -> Any:
    """Return the inner objective that the section `given` describes, for a network of this enlargement.

    Raises:
        UserError: No inner objective is registered under its type, an argument is unknown or refused, or the objective
            cannot be used for this enlargement.
    """
    return make_objective(where, check_objective_section(where, given), scale)


def make_objective(where: str, section: Mapping[str, Any], scale: Any = 1) -> Any:
    """Return the inner objective of a section whose keys and numbers :func:`check_objective_section` has read.

    Raises:
        UserError: An argument is refused, or the objective cannot be used for this enlargement.
    """
    kind = section['type']
    objective = _built(where, kind, {key: value for key, value in section.items() if key != 'type'})
    if not isinstance(objective, Objective):
        raise UserError(f'{where}: {kind} is no inner objective: it lacks prepare and loss')
    if scale != 1 and same_size(objective):
        raise UserError(f'{where}: {kind} compares images of one size, it cannot be used with scale: {scale}')
    return objective
