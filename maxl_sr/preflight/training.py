"""The section ``train``: optimisers, schedule and losses."""

import inspect
import math
from typing import Any

import torch
from basicsr.models.base_model import BaseModel
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR

from maxl_sr.errors import UserError, telling
from maxl_sr.preflight.sections import require
from maxl_sr.settings.losses import check_like_defaults, check_loss
from maxl_sr.settings.values import (
    check_choice,
    check_count,
    check_keys,
    check_no_text_numbers,
    check_number,
    check_optimizer,
)

SCHEDULERS = {'MultiStepLR': MultiStepRestartLR, 'MultiStepRestartLR': MultiStepRestartLR,
              'CosineAnnealingRestartLR': CosineAnnealingRestartLR}
# Of BasicSR's own models
FURTHER_LOSSES = ('perceptual_opt', 'gan_opt', 'ldl_opt', 'feature_matching_opt')
ITERATIONS = {'net_d_iters': 1, 'net_d_init_iters': 0, 'net_g_reg_every': 1, 'net_d_reg_every': 1}
LARGEST = 10**9  # iterations: more are a slip of the keyboard


def check_training(opt: dict[str, Any]) -> None:
    """Check what BasicSR itself reads of the section ``train``."""
    require('the option file', opt, ('train', 'logger'))
    require('logger', opt['logger'], ('print_freq', 'save_checkpoint_freq', 'use_tb_logger'))
    require('datasets', opt['datasets'], ('train', ))
    train = opt['train']
    require('train', train, ('total_iter', 'optim_g', 'scheduler'))
    check_count('train: total_iter', train['total_iter'])
    if train['total_iter'] > LARGEST:
        raise UserError(f"train: total_iter must be at most {LARGEST:,}, not {train['total_iter']!r}")
    check_number('train', train, 'warmup_iter', low=-1)
    check_number('train', train, 'ema_decay', low=0, high=1)
    for key in ('print_freq', 'save_checkpoint_freq'):
        check_count(f'logger: {key}', opt['logger'][key])
    for key in [key for key in train if key.startswith('optim_')]:
        require(f'train: {key}', train[key], ('type', 'lr'))
        check_optimizer(f'train: {key}', train[key])
        optimizer = _optimizer(f'train: {key}', **train[key])
    _check_scheduler(train['scheduler'], optimizer, int(train['total_iter']))
    if train.get('pixel_opt') is not None:
        check_loss('train: pixel_opt', train['pixel_opt'])
    for key in [key for key in FURTHER_LOSSES if train.get(key) is not None]:
        check_like_defaults(f'train: {key}', train[key])
    for key, low in ITERATIONS.items():
        if train.get(key) is not None:
            check_count(f'train: {key}', train[key], low)


def _optimizer(where: str, type: str, lr: float, **arguments: Any) -> torch.optim.Optimizer:
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    try:
        kind = BaseModel.get_optimizer(None, type, parameters, lr).__class__
    except NotImplementedError as error:
        raise UserError(f'{where}: type: BasicSR has no optimizer {type!r}; it has Adam') from error
    check_keys(where, arguments, inspect.signature(kind).parameters)
    with telling(where):
        optimizer: torch.optim.Optimizer = kind(parameters, lr, **arguments)
        return optimizer


def _check_scheduler(scheduler: Any, optimizer: torch.optim.Optimizer, total_iter: int) -> None:
    where = 'train: scheduler'
    require(where, scheduler, ('type', ))
    check_choice(f'{where}: type', scheduler['type'], SCHEDULERS)
    check_no_text_numbers(where, scheduler)
    arguments = {key: value for key, value in scheduler.items() if key != 'type'}
    kind = SCHEDULERS[scheduler['type']]
    check_keys(where, arguments, inspect.signature(kind).parameters)
    for key, low in (('milestones', 0), ('periods', 1), ('restarts', 0)):
        _check_list(f'{where}: {key}', arguments.get(key, []), low)
    if not isinstance(arguments.get('restart_weights', []), (list, tuple)):
        raise UserError(f"{where}: restart_weights must be a list of numbers, not {arguments['restart_weights']!r}")
    for key in ('restart_weights', 'gamma', 'eta_min'):
        values = arguments.get(key, [])
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise UserError(f'{where}: {key} must be a number of at least 0, not {value!r}')
    with telling(where):
        kind(optimizer, **arguments)
    if 'periods' in arguments:
        check_periods(f'{where}: periods', arguments['periods'], total_iter)


def _check_list(where: str, values: Any, low: int) -> None:
    if not isinstance(values, (list, tuple)):
        raise UserError(f'{where} must be a list of iterations, not {values!r}')
    for value in values:
        check_count(where, value, low)


def check_periods(where: str, periods: Any, total_iter: int) -> None:
    """Refuse periods that end before the training: BasicSR knows no learning rate there."""
    if sum(periods) < total_iter - 1:
        raise UserError(f'{where} {list(periods)} end at iteration {sum(periods)}, but total_iter is {total_iter}; '
                        'they must reach it')
