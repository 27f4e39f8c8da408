"""From which state a training is resumed, and whether it fits."""

import os
import re
from collections.abc import Mapping
from os import path as osp
from typing import Any

from maxl_sr.adaptation.checkpoint import load_checkpoint
from maxl_sr.errors import UserError
from maxl_sr.preflight.training import check_periods
from maxl_sr.resume import go_on_from


def find_state(opt: dict[str, Any]) -> int | None:
    """Return the iteration from which the training will be resumed; None where it begins anew.

    With ``--auto_resume`` the last state of the experiment becomes ``path: resume_state``; files of other names, such
    as copies of a state, are left aside.

    Raises:
        UserError: The state is none of this training, or there are networks of a training whose states are gone.
    """
    path = opt['path'].get('resume_state')
    if opt['auto_resume']:
        saved = _numbers(opt['path']['training_states'], r'(\d+)\.state')
        path = osp.join(opt['path']['training_states'], f'{max(saved)}.state') if saved else None
        if path is None:
            _check_left_over(opt)
        opt['path']['resume_state'] = path
        opt['auto_resume'] = False  # found; BasicSR would stumble over other names
    if not path:
        return None
    state = load_checkpoint('path: resume_state', path)
    _check_state(opt, path, state)
    go_on_from(opt, state)
    return int(state['iter'])


def _numbers(folder: str, pattern: str) -> list[int]:
    files = os.listdir(folder) if osp.isdir(folder) else []
    matches = (re.fullmatch(pattern, name) for name in files)
    return sorted({int(match[1]) for match in matches if match})


def _check_left_over(opt: Mapping[str, Any]) -> None:
    """Refuse to begin anew beside networks whose states are gone.

    A training that was killed while it saved its first checkpoint has left networks without a state: that one begins
    anew.
    """
    models = opt['path']['models']
    left = _numbers(models, r'net_\w+_(\d+)\.pth')
    if left and left != [int(opt['logger']['save_checkpoint_freq'])]:
        raise UserError(f"--auto_resume: {opt['path']['training_states']} holds no state NUMBER.state, but {models} "
                        f'has networks of iteration {left[-1]}; without --auto_resume a training begins anew, and '
                        'path: pretrain_network_g begins it with these weights')


def _check_state(opt: dict[str, Any], path: str, state: Any) -> None:
    where = f'path: resume_state: {path}'
    whole = isinstance(state, Mapping) and {'epoch', 'iter', 'optimizers', 'schedulers'} <= state.keys()
    if not whole or not all(type(state[key]) is int and state[key] >= 0 for key in ('epoch', 'iter')) or not all(
            isinstance(state[key], list) and all(isinstance(part, Mapping) for part in state[key])
            for key in ('optimizers', 'schedulers')):
        raise UserError(f'path: resume_state: {path} is no training state')
    optimizers = sum(key.startswith('optim_') for key in opt['train'])
    if opt.get('network_m') is None:
        optimizers -= 'optim_m' in opt['train']  # of a network that is not there
    if len(state['optimizers']) != optimizers or len(state['schedulers']) != optimizers:
        raise UserError(f"{where} is of a training with {len(state['optimizers'])} optimizers, this one has "
                        f'{optimizers}')
    for saved in state['schedulers']:
        if 'periods' in saved:
            check_periods(f"{where} keeps the scheduler of its beginning, whose periods", saved['periods'],
                          int(opt['train']['total_iter']))
