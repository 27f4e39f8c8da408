"""Checks of names, keys and values that BasicSR itself reads."""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from basicsr.utils.registry import Registry

from maxl_sr.errors import UserError
from maxl_sr.settings.messages import nearest


def registered(registry: Registry) -> dict[str, Any]:
    """Return the components of `registry` by what an option file may call them: BasicSR's suffix can be left out."""
    found = {key: item for key, item in registry}  # it has keys, but no items
    short = {key.removesuffix('_basicsr'): item for key, item in found.items() if key.endswith('_basicsr')}
    return {**found, **{key: item for key, item in short.items() if key not in found}}


def names(registry: Registry) -> list[str]:
    """Return what an option file may call the components of `registry`."""
    return list(registered(registry))


def check_choice(where: str, value: Any, known: Collection[str]) -> None:
    """Refuse a `value` that is none of the `known` names, naming the nearest one."""
    if not isinstance(value, str) or value not in known:
        raise UserError(f'{where}: unknown name {value!r}; {nearest(value, known)}')


def check_keys(where: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuse the first key of the section `where` that is not `known`, naming the nearest known one."""
    for key in given:
        if key not in known:
            raise UserError(f"{where}: unknown key '{key}'; {nearest(key, known)}")


def check_no_text_numbers(where: str, given: Mapping[str, Any]) -> None:
    """Refuse text that looks like a number, such as 1e-4, in a section whose values BasicSR takes as they are.

    The sections and lists within it are looked at, too.
    """
    for key, value in given.items():
        _check_no_text_number(f'{where}: {key}', value, 'a number')


def _check_no_text_number(where: str, value: Any, kind: str) -> None:
    if isinstance(value, Mapping):
        check_no_text_numbers(where, value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_no_text_number(where, item, 'numbers')
    elif isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return
        # YAML 1.1 reads 1e-3 as text, for want of a dot
        right = f'{value} without quotes' if re.fullmatch(r'[-+]?[0-9.]+', value) else f'!!float {value}'
        raise UserError(f'{where} must be {kind}, not the text {value!r}; write {right}')


def check_number(where: str, given: Mapping[str, Any], key: str, low: float, high: float = math.inf) -> None:
    """Refuse a value of `key` in the section `where`, if it is there, that is no number from `low` to `high`."""
    value = given.get(key, low)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        upper = '' if high == math.inf else f' and at most {high}'
        raise UserError(f'{where}: {key} must be a number of at least {low}{upper}, not {value!r}')


def check_finite(where: str, value: Any) -> None:
    """Refuse a `value` that is no number; text that looks like one passes."""
    try:
        good = not isinstance(value, bool) and isinstance(value, (int, float, str)) and math.isfinite(float(value))
    except ValueError:
        good = False
    if not good:
        raise UserError(f'{where} must be a number, not {value!r}')


def check_count(where: str, value: Any, low: int = 1) -> None:
    """Refuse a `value` that is no integer of at least `low`; a float without fraction, as BasicSR's 4e5, is one."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value != int(value) or value < low:
        raise UserError(f'{where} must be an integer of at least {low}, not {value!r}')


def check_optimizer(where: str, given: Mapping[str, Any]) -> None:
    """Refuse an optimiser whose ``lr`` is no positive number, or whose ``betas`` are no averages."""
    check_no_text_numbers(where, given)
    lr = given['lr']
    if isinstance(lr, bool) or not (isinstance(lr, (int, float)) and math.isfinite(lr) and lr > 0):
        raise UserError(f'{where}: lr must be a positive number, not {lr!r}')
    betas = given.get('betas', [0, 0])
    if not isinstance(betas, (list, tuple)) or len(betas) != 2 or not all(
            isinstance(beta, (int, float)) and 0 <= beta < 1 for beta in betas):
        raise UserError(f'{where}: betas must be two numbers from 0 to below 1, not {betas!r}')
