"""Sections and their keys: what every part of the check uses, and those that no part of BasicSR checks."""

import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from maxl_sr.errors import UserError
from maxl_sr.settings.values import check_count, check_keys

TOP_LEVEL = ('name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'datasets', 'network_g', 'network_m',
             'path', 'train', 'val', 'logger', 'dist_params', 'find_unused_parameters')
SECTIONS = ('metrics', 'adapt', 'guard', 'inner', 'aux_opt', 'pixel_opt', 'mask_opt', 'scheduler', 'noise',
            'degradation', 'camera', 'augment', 'io_backend')
ADDED = ('dist', 'rank', 'world_size', 'auto_resume', 'is_train', 'root_path')  # by BasicSR
PATHS_ADDED = ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')


def require(where: str, section: Any, keys: Iterable[str]) -> None:
    """Refuse a `section` that is none, or lacks one of the `keys`."""
    if not isinstance(section, Mapping):
        raise UserError(f'{where} must be a section, not {section!r}')
    for key in keys:
        if key not in section:
            raise UserError(f"{where}: key '{key}' is missing")


def check_sections(section: Mapping[str, Any], where: str = '') -> None:
    """Refuse what is no section where one belongs: false, 0 and [] would pass for none."""
    for key, value in section.items():
        place = f'{where}: {key}' if where else key
        if isinstance(value, Mapping):
            check_sections(value, place)
        elif value is not None and (key in SECTIONS or where == 'train' and key.startswith('optim_')):
            raise UserError(f'{place} must be a section, not {value!r}')


def check_bool(where: str, section: Mapping[str, Any], *keys: str) -> None:
    """Refuse a value of one of the `keys`, where it is there, that is neither true nor false."""
    for key in keys:
        if not isinstance(section.get(key, False), bool):
            raise UserError(f'{where}: {key} must be true or false, not {section[key]!r}')


def check_top_level(opt: Mapping[str, Any], model: type) -> None:
    """Refuse a section that neither the toolbox nor the model reads."""
    # What a model reads beside the common sections, such as queue_size, is known by its source alone
    with suppress(OSError):  # of a class without a file
        source = ''.join(inspect.getsource(cls) for cls in inspect.getmro(model)[:-1])
        own = re.findall(r"opt(?:\.get\(|\[)'(\w+)'", source)
        check_keys('the option file', opt, [*TOP_LEVEL, *ADDED, *own])
    check_bool('the option file', opt, 'find_unused_parameters')
    if opt.get('dist_params') is not None:
        require('dist_params', opt['dist_params'], ())
        check_keys('dist_params', opt['dist_params'], ('backend', 'port'))
        check_count('dist_params: port', opt['dist_params'].get('port', 29500))


def check_paths(opt: Mapping[str, Any]) -> None:
    """Refuse a key of ``path`` that BasicSR does not know: it would make a folder of that name."""
    networks = [key.removeprefix('network_') for key in opt if key.startswith('network_')]
    known = [f'{key}{label}' for label in networks for key in ('pretrain_network_', 'param_key_', 'strict_load_')]
    given = opt['path']
    # Of a network that is switched off, or of no section of the option file, such as pretrain_network_d_init
    known += [key for key in given if key.startswith(('pretrain_network_', 'param_key_', 'strict_load_'))]
    check_keys('path', given, [*known, 'resume_state', 'ignore_resume_networks', *PATHS_ADDED])
    check_bool('path', given, *(key for key in given if key.startswith('strict_load_')))
    for key in given:
        if key.startswith('param_key_') and not isinstance(given[key], (str, type(None))):
            raise UserError(f'path: {key} must be text or null, not {given[key]!r}')
    ignored = given.get('ignore_resume_networks')
    if ignored is not None and not (isinstance(ignored, list) and all(isinstance(name, str) for name in ignored)):
        raise UserError(f'path: ignore_resume_networks must be a list of names, not {ignored!r}')


def check_logger(opt: Mapping[str, Any]) -> None:
    """Check the section ``logger`` and that the loggers it asks for are installed."""
    logger = opt['logger']
    check_keys('logger', logger, ('print_freq', 'save_checkpoint_freq', 'use_tb_logger', 'wandb'))
    check_bool('logger', logger, 'use_tb_logger')
    wandb = logger.get('wandb')
    if wandb is not None:
        require('logger: wandb', wandb, ())
        check_keys('logger: wandb', wandb, ('project', 'resume_id'))
        for key in ('project', 'resume_id'):
            if not isinstance(wandb.get(key), (str, type(None))):
                raise UserError(f'logger: wandb: {key} must be text or null, not {wandb[key]!r}')
    if 'debug' in opt['name']:  # BasicSR logs such a training to the console and the file alone
        return
    if logger['use_tb_logger']:
        try:
            importlib.import_module('torch.utils.tensorboard')
        except ImportError as error:
            raise UserError(f'logger: use_tb_logger: TensorBoard cannot be used ({error}); pip install tensorboard, or '
                            'set it to false') from error
    if wandb is not None and wandb.get('project') is not None:
        if not logger['use_tb_logger']:
            raise UserError('logger: wandb: project needs use_tb_logger: true')
        if importlib.util.find_spec('wandb') is None:
            raise UserError('logger: wandb: there is no package wandb; pip install wandb, or set project: ~')
