"""Models: checkpoints are written whole and read with a look at them, and figures and failures are told as they are."""

import functools
import math
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import path as osp
from pathlib import Path
from typing import Any

import basicsr.models as basicsr_models
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from torch import nn

from maxl_sr.adaptation.checkpoint import forget, read_weights
from maxl_sr.errors import UserError
from maxl_sr.toolbox.seams import replace_everywhere
from maxl_sr.utils.files import replacing_in
from maxl_sr.utils.memory import is_out_of_memory

GROUP_KEYS = ('initial_lr', 'betas', 'eps', 'weight_decay', 'amsgrad')
SCHEDULER_KEYS = ('milestones', 'gamma', 'restarts', 'restart_weights', 'periods', 'eta_min')


def last_good(opt: Mapping[str, Any]) -> str:
    """Return the part of a sentence that names the last checkpoint of the training."""
    states = [path for path in Path(opt['path']['training_states']).glob('*.state') if path.stem.isdigit()]
    if not states:
        return 'no checkpoint had been saved yet'
    return f'the last good checkpoint is {max(states, key=lambda path: int(path.stem))}'


@contextmanager
def _whole_file(opt: dict[str, Any], key: str) -> Iterator[None]:
    """Let BasicSR write to a temporary folder, then move: a killed run leaves no half-written checkpoint."""
    final = opt['path'][key]
    try:
        with replacing_in(Path(final)) as partial:
            opt['path'][key] = str(partial)
            try:
                yield
            finally:
                opt['path'][key] = final
            written = list(partial.iterdir())
            for file in written:
                if not zipfile.is_zipfile(file):  # BasicSR goes on when it cannot write
                    raise UserError(f'cannot write {osp.join(final, file.name)} (is the disk full?); {last_good(opt)}')
            if not written:
                raise UserError(f'cannot write a checkpoint to {final} (is the disk full?); {last_good(opt)}')
    except OSError as error:
        raise UserError(f'cannot write a checkpoint to {final}: {error.strerror}; {last_good(opt)}') from error


def _install_saving() -> None:
    save_of_network, save_of_state = BaseModel.save_network, BaseModel.save_training_state

    @functools.wraps(save_of_network)
    def save_network(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.opt.get('rank', 0) == 0:
            with _whole_file(self.opt, 'models'):
                save_of_network(self, *args, **kwargs)

    @functools.wraps(save_of_state)
    def save_training_state(self: Any, epoch: int, current_iter: int) -> None:
        if self.opt.get('rank', 0) == 0 and current_iter != -1:  # the end of a training has no state
            with _whole_file(self.opt, 'training_states'):
                save_of_state(self, epoch, current_iter)

    BaseModel.save_network, BaseModel.save_training_state = save_network, save_training_state


def load_network(self: Any, net: nn.Module, load_path: str, strict: bool = True,
                 param_key: str | None = 'params') -> None:
    """Load the weights of `load_path` as BasicSR, from any file in which they are found without a guess."""
    net = self.get_bare_model(net)
    key, weights = read_weights('path', load_path, param_key)
    if key != param_key:
        get_root_logger().info(f'Loading: {param_key} does not exist in {load_path}, use {key or "the whole file"}.')
    get_root_logger().info(f'Loading {type(net).__name__} model from {load_path}, with param key: [{key}].')
    self._print_different_keys_loading(net, weights, strict)
    net.load_state_dict(weights, strict=strict)


def _plain(value: Any) -> Any:
    if isinstance(value, Counter):
        return sorted(value.elements())
    return list(value) if isinstance(value, tuple) else value


def overridden(model: Any, state: Mapping[str, Any]) -> list[str]:
    """Return what a training state brings along that the option file says otherwise, in words."""
    told = []
    for number, (optimizer, saved) in enumerate(zip(model.optimizers, state['optimizers']), 1):
        for own, other in zip(optimizer.state_dict()['param_groups'], saved['param_groups']):
            told += [f"{key.replace('initial_', '')} {_plain(other[key])} of optimizer {number} (the option file says "
                     f'{_plain(own[key])})' for key in GROUP_KEYS if key in own and key in other
                     and _plain(own[key]) != _plain(other[key])]
    for scheduler, saved in list(zip(model.schedulers, state['schedulers']))[:1]:  # all have the same options
        own = scheduler.state_dict()
        told += [f'{key} {_plain(saved[key])} of the scheduler (the option file says {_plain(own[key])})'
                 for key in SCHEDULER_KEYS if key in own and key in saved and _plain(own[key]) != _plain(saved[key])]
    return told


def _install_resume() -> None:
    original = BaseModel.resume_training

    @functools.wraps(original)
    def resume_training(self: Any, resume_state: dict[str, Any]) -> None:
        try:
            told = overridden(self, resume_state)
            original(self, resume_state)
            for optimizer in self.optimizers:
                for weight, values in optimizer.state.items():
                    for name, value in values.items():
                        if getattr(value, 'ndim', 0) and value.shape != weight.shape:
                            raise ValueError(f'{name} is {tuple(value.shape)} there and {tuple(weight.shape)} here')
        except Exception as error:
            raise UserError('path: resume_state: the state does not fit this training: '
                            f'{" ".join(str(error).split())}') from error
        for text in told:
            get_root_logger().warning(f'Resumed: the state keeps {text}.')

    BaseModel.resume_training = resume_training


def _install_best() -> None:
    original = BaseModel._update_best_metric_result

    @functools.wraps(original)
    def update(self: Any, dataset_name: str, metric: str, val: float, current_iter: int | str) -> None:
        if math.isfinite(val):
            original(self, dataset_name, metric, val, current_iter)

    BaseModel._update_best_metric_result = update


def _install_naming() -> None:
    original = BaseModel.validation

    @functools.wraps(original)
    def validation(self: Any, dataloader: Any, *args: Any, **kwargs: Any) -> None:
        try:
            original(self, dataloader, *args, **kwargs)
        except (UserError, OSError):
            raise
        except Exception as error:
            last = getattr(dataloader.dataset, 'last', None)
            if last is None:
                raise
            text = ' '.join(str(error).split()) or type(error).__name__
            if is_out_of_memory(error):
                text = 'there is not enough memory; a smaller center_crop needs less'
            raise UserError(f'cannot restore {last}: {text}') from error

    BaseModel.validation = validation


def _install_building() -> None:
    original = basicsr_models.build_model

    @functools.wraps(original)
    def build_model(opt: dict[str, Any]) -> Any:
        try:
            return original(opt)
        except (UserError, OSError, MemoryError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            text = f'key {error} is missing' if isinstance(error, KeyError) else ' '.join(str(error).split())
            raise UserError(f"model_type: cannot make a {opt['model_type']}: {text}") from error
        finally:
            forget()

    replace_everywhere(original, build_model)


BaseModel.load_network = load_network
_install_saving()
_install_resume()
_install_best()
_install_naming()
_install_building()
