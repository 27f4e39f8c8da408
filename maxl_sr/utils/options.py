"""The sections of an option file that this package reads: their keys, types, ranges and defaults."""

import dataclasses
import difflib
import inspect
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch
from basicsr.utils.registry import LOSS_REGISTRY, Registry
from torch import nn

from maxl_sr.errors import UserError
from maxl_sr.meta.objective import Objective, same_size

Section = TypeVar('Section')
MOST_STEPS = 10_000  # of the inner loop: more are a slip of the keyboard, and fill the memory


def check_choice(where: str, value: Any, known: Collection[str]) -> None:
    """Refuse a `value` that is none of the `known` names, naming the nearest one."""
    if not isinstance(value, str) or value not in known:
        raise UserError(f"{where}: unknown name {value!r}; {_nearest(value, known)}")


def names(registry: Registry) -> list[str]:
    """Return what an option file may call the components of `registry`: BasicSR's own suffix can be left out."""
    return [*registry.keys(), *(key.removesuffix('_basicsr') for key in registry.keys() if key.endswith('_basicsr'))]


def _nearest(name: Any, known: Collection[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f'known: {", ".join(known)}'


def check_keys(where: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuse the first key of the section `where` that is not `known`, naming the nearest known one."""
    for key in given:
        if key not in known:
            raise UserError(f"{where}: unknown key '{key}'; {_nearest(key, known)}")


def check_component(where: str, given: Any, registry: Registry) -> dict[str, Any]:
    """Return the constructor arguments of the section `given`, whose ``type`` names a component of `registry`.

    Raises:
        UserError: `given` is no section, its type is unknown, or the constructor has no such argument or lacks one.
    """
    if not isinstance(given, Mapping) or 'type' not in given:
        raise UserError(f"{where} must be a section with the key 'type', not {given!r}")
    check_choice(f'{where}: type', given['type'], names(registry))
    arguments = {key: value for key, value in given.items() if key != 'type'}
    parameters = inspect.signature(registry.get(given['type'])).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        check_keys(where, arguments, [parameter.name for parameter in parameters])
    for parameter in parameters:
        required = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if required and parameter.name not in arguments:
            raise UserError(f"{where}: key '{parameter.name}' is missing")
    return arguments


def build_checked(where: str, given: Any) -> Any:
    """Return the loss that the section `given` describes, without BasicSR's log line.

    Raises:
        UserError: As :func:`check_component`, or the loss refuses an argument.
    """
    arguments = check_component(where, given, LOSS_REGISTRY)
    check_no_text_numbers(where, arguments)
    if 'loss_weight' in arguments:
        _number(f'{where}: loss_weight', arguments['loss_weight'], float)
    if arguments.get('reduction') == 'none':
        raise UserError(f"{where}: reduction cannot be 'none': a loss must be one number")
    try:
        return LOSS_REGISTRY.get(given['type'])(**arguments)
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
            _number(f'{where}: {parameter.name}', value, float)


def check_loss(where: str, given: Any) -> Any:
    """Return the loss of two images that the section `given` describes.

    Raises:
        UserError: As :func:`build_checked`, or the loss is an inner objective only, or does not make one number of two
            images.
    """
    loss = build_checked(where, given)
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
        UserError: As :func:`build_checked`, or the inner loop cannot use the loss.
    """
    objective = build_checked(where, given)
    if not isinstance(objective, Objective):
        raise UserError(f"{where}: {given['type']} is no inner objective: it lacks prepare and loss")
    if scale != 1 and same_size(objective):
        raise UserError(f"{where}: {given['type']} compares images of one size, it cannot be used with scale: {scale}")
    return objective


def check_no_text_numbers(where: str, given: Mapping[str, Any]) -> None:
    """Refuse text that looks like a number, such as 1e-4, in a section whose values BasicSR takes as they are."""
    for key, value in given.items():
        several = isinstance(value, (list, tuple))
        for item in value if several else [value]:
            if isinstance(item, str):
                try:
                    float(item)
                except ValueError:
                    continue
                kind = 'numbers' if several else 'a number'
                # YAML 1.1 reads 1e-3 as text, for want of a dot
                right = f'{item} without quotes' if re.fullmatch(r'[-+]?[0-9.]+', item) else f'!!float {item}'
                raise UserError(f'{where}: {key} must be {kind}, not the text {item!r}; write {right}')


def check_number(where: str, given: Mapping[str, Any], key: str, low: float, high: float = math.inf) -> None:
    """Refuse a value of `key` in the section `where`, if it is there, that is no number from `low` to `high`."""
    value = given.get(key, low)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        upper = '' if high == math.inf else f' and at most {high}'
        raise UserError(f'{where}: {key} must be a number of at least {low}{upper}, not {value!r}')


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


def _number(where: str, value: Any, kind: type) -> Any:
    # YAML 1.1 reads 1e-3 as text, for want of a dot; BasicSR's own files write !!float 1e-3
    if isinstance(value, str) and kind is float:
        try:
            value = float(value)
        except ValueError:
            pass
    good = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if not good or not math.isfinite(value):
        raise UserError(f'{where} must be {"a number" if kind is float else "an integer"}, not {value!r}')
    return kind(value)


def _convert(where: str, value: Any, hint: Any) -> Any:
    if hint in (int, float):
        return _number(where, value, hint)
    if hint is bool and not isinstance(value, bool):
        raise UserError(f'{where} must be true or false, not {value!r}')
    if get_origin(hint) is Literal:
        if value is False and 'no' in get_args(hint):  # how YAML 1.1 reads no
            value = 'no'
        if value not in get_args(hint):
            raise UserError(f'{where} must be one of {", ".join(get_args(hint))}, not {value!r}')
    elif hint == tuple[float, float]:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise UserError(f'{where} must be a pair of numbers, not {value!r}')
        value = tuple(_number(where, end, float) for end in value)
        if value[0] > value[1]:
            raise UserError(f'{where} must go from low to high, not {list(value)}')
    elif hint == dict[str, Any] and not isinstance(value, dict):
        raise UserError(f'{where} must be a section, not {value!r}')
    return value


def parse(cls: type[Section], given: Any, where: str) -> Section:
    """Return the section `where` of an option file as an instance of the dataclass `cls`.

    Raises:
        UserError: `given` is no section, has an unknown key, or a value has the wrong type or is out of range.
    """
    if not isinstance(given, Mapping):
        raise UserError(f'{where} must be a section, not {given!r}')
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    check_keys(where, given, list(fields))
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, f in fields.items():
        if name not in given:
            continue
        value = given[name]
        optional = type(None) in get_args(hints[name])
        if value is None and optional:
            values[name] = None
            continue
        hint = next(h for h in get_args(hints[name]) if h is not type(None)) if optional else hints[name]
        value = _convert(f'{where}: {name}', value, hint)
        low, strict = f.metadata.get('low'), f.metadata.get('strict', False)
        lowest = value[0] if isinstance(value, tuple) else value
        if low is not None and (lowest < low or strict and lowest == low):
            bound = 'greater than' if strict else 'at least'
            raise UserError(f'{where}: {name} must be {bound} {low}, not {given[name]!r}')
        highest = value[1] if isinstance(value, tuple) else value
        if 'high' in f.metadata and highest > f.metadata['high']:
            raise UserError(f'{where}: {name} must be at most {f.metadata["high"]}, not {given[name]!r}')
        if 'below' in f.metadata and not highest < f.metadata['below']:
            raise UserError(f'{where}: {name} must be less than {f.metadata["below"]}, not {given[name]!r}')
        values[name] = value
    return cls(**values)


def _rate(default: float | None) -> Any:
    return field(default=default, metadata={'low': 0, 'strict': True})


def _count(default: int, high: int | None = None) -> Any:
    return field(default=default, metadata={'low': 1} if high is None else {'low': 1, 'high': high})


@dataclass(frozen=True)
class Compute:
    """``train`` itself: how a training computes.

    Attributes:
        autocast: 'no': float32; 'bf16': the networks compute in bfloat16 where torch's autocast has it, which changes
            gradients by up to 0.5 %.
        cuda_graph: Whether an iteration is captured as a CUDA graph; for a training on one GPU.
    """

    autocast: Literal['no', 'bf16'] = 'no'
    cuda_graph: bool = True

    @classmethod
    def of(cls, train: Mapping[str, Any]) -> 'Compute':
        """Return what the section ``train`` says, refusing as :func:`parse`."""
        own = [field.name for field in dataclasses.fields(cls)]
        return parse(cls, {key: train[key] for key in own if key in train}, 'train')


@dataclass(frozen=True)
class VirtualStep:
    """``train: inner`` of ``MAXLModel``: the virtual step of MAXL, ``θ⁺ = θ − lr · ∇(L_pri + L_aux)``.

    Attributes:
        lr: Step size; the mask network learns from the network after this step, which is then undone.
    """

    lr: float = _rate(1e-3)


@dataclass(frozen=True)
class InnerLoop:
    """``train: inner`` of ``MetaTransferModel``: K steps ``θ' ← θ' − lr · loss_weight · ∇L_aux`` for every sample.

    Attributes:
        steps: Number of steps K.
        lr: Inner rate; with `learn_lr` the learned rates begin with ``lr · loss_weight``, unless those of
            ``pretrain_network_g`` are there to go on with.
        loss_weight: Weight λ_in of the inner objective.
        params: What adapts: the heads of the network, all of its weights, a gain of every channel of its layers, or an
            offset of every pixel of the input.
        meta_gradient: 'stored' (exact, keeps the graphs of the K steps, fastest), 'replay' (exact, keeps the weights of
            the K steps alone and computes each step again on the way back), 'first_order' (without second derivatives,
            and so without a gradient into the mask), or 'auto': 'stored' where the graphs fit into half of the free
            memory, otherwise 'replay'.
        learn_lr: Whether the inner rates are learned: one for every 'tensor' that adapts or for every 'parameter', or
            'no'. Needs ``train: optim_r``.
        per_step: Whether every step has learned rates of its own.
        samples: Whether the samples of a batch adapt 'one_by_one' or 'together', in fewer and larger kernels, for a
            GPU; 'together' needs ``autocast: no``.
        unadapted_weight: Weight, in the outer loss, of L_pri before the first step, for a network that shall be good
            un-adapted, too.
    """

    steps: int = _count(5, high=MOST_STEPS)
    lr: float = _rate(5e-5)
    loss_weight: float = _rate(10.0)
    params: Literal['heads', 'all', 'gains', 'input'] = 'heads'
    meta_gradient: Literal['auto', 'stored', 'replay', 'first_order'] = 'auto'
    learn_lr: Literal['no', 'tensor', 'parameter'] = 'no'
    per_step: bool = False
    samples: Literal['one_by_one', 'together'] = 'one_by_one'
    unadapted_weight: float = field(default=0.0, metadata={'low': 0})


@dataclass(frozen=True)
class GuardOptions:
    """``val: adapt: guard``: whether, and how far, an image is adapted to.

    See :class:`maxl_sr.meta.Guard`.

    Attributes:
        margin: Adapted weights are kept if they lower the guard's objective by more than this part of its value at the
            trained weights, below its value at the weights kept before.
        every: Number of steps between two looks; the last step is looked at in any case.
        patience: After so many looks in a row that kept nothing, the steps end; null: never.
        aux_opt: The guard's objective: an inner objective, which estimates the error of the restored image; it gets no
            mask.
    """

    margin: float = field(default=0.05, metadata={'low': 0, 'below': 1})
    every: int = _count(1)
    patience: int | None = field(default=None, metadata={'low': 1})
    aux_opt: dict[str, Any] = field(default_factory=lambda: {'type': 'SURELoss', 'window': 64})


@dataclass(frozen=True)
class Adapt:
    """``val: adapt``: adaptation at test time, from the trained weights for every image.

    Attributes:
        steps: Number of steps K.
        lr: Step size, for 'adam' in Adam's unit; null: the inner rates learned in training, 1e-5 where there are none.
        params: What adapts: the heads of the network, all of its weights, a gain of every channel of its layers, or an
            offset of every pixel of the input.
        optimizer: Plain gradient steps or Adam; learned rates are those of 'sgd'.
        aux_opt: Inner objective; null: that of ``train``, ``MaskedReconstructionLoss`` where there is none.
        guard: The guard, :class:`GuardOptions`; null: all steps are taken, whatever the image.
    """

    steps: int = _count(5, high=MOST_STEPS)
    lr: float | None = _rate(None)
    params: Literal['heads', 'all', 'gains', 'input'] = 'heads'
    optimizer: Literal['sgd', 'adam'] = 'sgd'
    aux_opt: dict[str, Any] | None = None
    guard: dict[str, Any] | None = None
