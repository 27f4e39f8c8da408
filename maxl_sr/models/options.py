"""What the models read of an option file: every section parsed once and checked, as one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from basicsr.utils.registry import ARCH_REGISTRY

from maxl_sr.adaptation import saved_rates
from maxl_sr.errors import UserError
from maxl_sr.meta import InnerRates, is_multi_task
from maxl_sr.settings.adaptation import Adapt, Compute, InnerLoop, VirtualStep
from maxl_sr.settings.components import check_objective_section
from maxl_sr.settings.losses import check_loss, make_objective
from maxl_sr.settings.messages import keys
from maxl_sr.settings.section import Section, parse
from maxl_sr.settings.training import AdaptivePath, AdaptiveValidation, MAXLTrain, MetaTransferTrain
from maxl_sr.settings.values import check_count, check_keys

# What BasicSR puts into ``path`` itself
PATHS_ADDED = ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')
Inner = TypeVar('Inner', bound=Section, covariant=True)


@dataclass(frozen=True)
class Options(Generic[Inner]):
    """The sections of an option file that a model reads itself.

    Attributes:
        inner: ``train: inner``.
        compute: How a training computes, of ``train``.
        aux_opt: ``train: aux_opt``, the inner objective, with its numbers read; None: there is none.
        adapt: ``val: adapt``, with the objective of ``train`` where it gives none; None: no adaptation.
        rates: Learned inner rates in the checkpoint of the network; None: none, or they are not used.
    """

    inner: Inner
    compute: Compute
    aux_opt: dict[str, Any] | None
    adapt: Adapt | None
    rates: InnerRates | None


def maxl_options(opt: Mapping[str, Any]) -> Options[VirtualStep]:
    """Return what a ``MAXLModel`` reads.

    Raises:
        UserError: A key is unknown or missing, or a value has the wrong type or is out of range.
    """
    options = _options(opt, MAXLTrain, VirtualStep)
    train = opt['train'] if opt['is_train'] else {}
    if opt['is_train'] and opt.get('network_m') is not None:
        if 'alternate_every' not in train:
            raise UserError("train: key 'alternate_every' is missing")
        if train['alternate_every'] != 'epoch':
            check_count('train: alternate_every', train['alternate_every'])
    return _with_adaptation(opt, options, None if options.rates is None else options.rates.params())


def transfer_options(opt: Mapping[str, Any]) -> Options[InnerLoop]:
    """Return what a ``MetaTransferModel`` reads.

    Raises:
        UserError: As :func:`maxl_options`.
    """
    options = _options(opt, MetaTransferTrain, InnerLoop)
    if not opt['is_train']:
        return _with_adaptation(opt, options, None if options.rates is None else options.rates.params())
    train, inner = opt['train'], options.inner
    if inner.samples == 'together' and options.compute.autocast == 'bf16':
        raise UserError('train: autocast: bf16 needs inner: samples: one_by_one')  # vmap does not see autocast
    if inner.learn_lr == 'no':
        if train.get('optim_r'):
            raise UserError('train: optim_r is given, but inner: learn_lr is no: there are no rates to train')
        if inner.per_step:
            raise UserError('train: inner: per_step is of learned rates; set learn_lr to tensor or parameter')
        return _with_adaptation(opt, options, None)
    if options.aux_opt is None:
        raise UserError('train: inner: learn_lr is given, but aux_opt is missing: there are no inner steps')
    if not train.get('optim_r'):
        raise UserError("train: inner: learn_lr is given, but train: key 'optim_r', the optimizer of the rates, "
                        'is missing')
    path = opt['path'].get('pretrain_network_g')
    rates = saved_rates(path)
    if rates is not None and rates.kind() != (wanted := kind_of_rates(inner)):
        raise UserError(f'path: pretrain_network_g: the inner rates in {path} are for (params, learn_lr, steps) '
                        f'{rates.kind()}, those of this training for {wanted}')
    return _with_adaptation(opt, replace(options, rates=rates), inner.params)


def kind_of_rates(inner: InnerLoop) -> tuple[str, str, int]:
    """Return what :meth:`~maxl_sr.meta.InnerRates.kind` says of the rates that a training learns."""
    return inner.params, inner.learn_lr, inner.steps if inner.per_step else 1


def _options(opt: Mapping[str, Any], train_section: type[Section], inner_section: type[Inner]) -> Options[Inner]:
    """Return what both models read of an option file but for ``val: adapt``."""
    if opt['is_train'] and opt['num_gpu'] > 1 and not opt['dist']:
        raise UserError(f"num_gpu: {opt['num_gpu']} GPUs need one process each: torchrun … --launcher pytorch")
    check_keys('val', opt.get('val') or {}, keys(AdaptiveValidation))
    check_keys('path', opt['path'], [*keys(AdaptivePath), *PATHS_ADDED])
    kind = opt['network_g']['type']
    if not is_multi_task(ARCH_REGISTRY.get(kind)):
        raise UserError(f"network_g: type: {kind} has no auxiliary head, which a {opt['model_type']} needs; use "
                        'MultiTaskNet, or model_type: SRModel')
    if not opt['is_train']:
        rates = saved_rates(opt['path'].get('pretrain_network_g'))
        return Options(inner_section(), Compute(), _objective_of_training(opt), None, rates)
    train = opt['train']
    check_keys('train', train, keys(train_section))
    compute = Compute.of(train)
    if train.get('pixel_opt') is None:
        raise UserError("train: key 'pixel_opt' is missing")
    if train.get('mask_opt') is not None:
        check_loss('train: mask_opt', train['mask_opt'])
    aux_opt = _objective_of_training(opt)
    if aux_opt is not None:
        make_objective('train: aux_opt', aux_opt, opt.get('scale', 1))
    if opt.get('network_m') is not None:
        if (aux_opt or {}).get('fixed_mask', 'none') != 'none':
            raise UserError('train: aux_opt: fixed_mask and network_m are given, but there can be one mask only')
        if aux_opt is None:
            raise UserError('network_m is given, but train: aux_opt is missing: no loss would use the mask')
        if not train.get('optim_m'):
            raise UserError('network_m is given, but train: optim_m is missing')
    return Options(parse(inner_section, train.get('inner') or {}, 'train: inner'), compute, aux_opt, None, None)


def _objective_of_training(opt: Mapping[str, Any]) -> dict[str, Any] | None:
    given = (opt.get('train') or {}).get('aux_opt')
    if isinstance(given, Mapping) and given.get('type') == 'auto' and opt.get('is_train'):
        raise UserError('train: aux_opt: auto chooses an objective for every image, in val: adapt; name one')
    return None if given is None else check_objective_section('train: aux_opt', given)


def _with_adaptation(opt: Mapping[str, Any], options: Options[Inner], learned: str | None) -> Options[Inner]:
    """Return the options with ``val: adapt``; `learned` says what learned rates are for, where there are any."""
    section = (opt.get('val') or {}).get('adapt')
    if section is None:
        return options
    adapt, scale = parse(Adapt, section, 'val: adapt'), opt.get('scale', 1)
    if adapt.aux_opt is not None:
        make_objective('val: adapt: aux_opt', adapt.aux_opt, scale)
    if adapt.guard is not None:
        make_objective('val: adapt: guard: aux_opt', adapt.guard.aux_opt, scale)
    if learned is not None and adapt.lr is None:
        where = 'val: adapt: the learned rates are those of'
        if adapt.optimizer != 'sgd':
            raise UserError(f'{where} optimizer: sgd; give a lr for {adapt.optimizer}')
        if adapt.params != learned:
            raise UserError(f'{where} params: {learned}; give a lr for {adapt.params}')
    return replace(options, adapt=adapt.with_objective(options.aux_opt))
