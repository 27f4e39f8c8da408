"""A killed and resumed training ends with the weights of an undisturbed one, bit for bit."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
import yaml

import maxl_sr.prepare
from tests.helpers import slow, train_options


def weights(folder):
    """All that the last checkpoints hold: the networks and, where they were learned, the inner rates."""
    saved = {net: torch.load(folder / f'models/net_{net}_latest.pth') for net in 'gm'}
    return {net: {f'{part}.{key}': value for part in saved[net] for key, value in saved[net][part].items()}
            for net in 'gm'}


@pytest.mark.slow
@pytest.mark.parametrize('model, workers', [('MAXLModel', 0), ('MetaTransferModel', 2)])
def test_killed_and_resumed_equals_undisturbed(model, workers, make_pairs, run, tmp_path):
    pairs = make_pairs(count=5)
    opt = train_options(model, pairs)
    opt['datasets']['train']['num_worker_per_gpu'] = workers
    opt['train']['total_iter'] = 30
    if model == 'MetaTransferModel':
        opt['train']['inner'].update(learn_lr='tensor', per_step=True, meta_gradient='replay')
        opt['train']['optim_r'] = opt['train']['optim_g']
    opt['logger']['save_checkpoint_freq'] = 3

    opt['name'] = 'undisturbed'
    assert run('train', opt) == 0

    opt['name'] = 'killed'
    (tmp_path / 'killed.yml').write_text(yaml.safe_dump(opt))
    last = random.randint(4, 24)
    process = subprocess.Popen([sys.executable, '-m', 'maxl_sr.train', '-opt', 'killed.yml'], cwd=tmp_path,
                               stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stdout:
        if (match := re.search(r'iter: +(\d+),', line)) and int(match[1]) >= last:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / 'experiments/killed/models/net_g_latest.pth').exists()

    assert run('train', opt, '--auto_resume') == 0
    one, other = (weights(tmp_path / 'experiments' / name) for name in ('undisturbed', 'killed'))
    for net in 'gm':
        assert all(torch.equal(one[net][key], other[net][key]) for key in one[net]), f'killed at {last}'


def test_no_half_written_state_is_left_under_its_name(make_pairs, run, tmp_path, monkeypatch, capsys):
    from maxl_sr.models.maxl_model import MAXLModel
    save = torch.save

    def interrupted(state, path):
        with open(path, 'wb') as file:
            file.write(b'half')
        raise KeyboardInterrupt

    def fail_at_four(self, epoch, current_iter):
        monkeypatch.setattr(torch, 'save', interrupted if current_iter == 4 else save)
        super(MAXLModel, self).save(epoch, current_iter)

    monkeypatch.setattr(MAXLModel, 'save', fail_at_four)
    opt = train_options('MAXLModel', make_pairs())
    assert run('train', opt) == 130
    assert 'the last good checkpoint is' in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / 'experiments/tiny/training_states').iterdir()) == ['2.state']
    assert sorted(path.name for path in (tmp_path / 'experiments/tiny/models').iterdir()) == ['net_g_2.pth',
                                                                                              'net_m_2.pth']
    monkeypatch.undo()


@pytest.mark.parametrize('workers', [0, *slow(2)])
def test_prefetching_draws_the_same(workers, make_pairs, run, tmp_path):
    opt = train_options('MAXLModel', make_pairs(count=5))
    for name, mode in (('plain', None), ('prefetched', 'cpu')):
        opt['name'] = name
        opt['datasets']['train'].update(prefetch_mode=mode, num_worker_per_gpu=workers)
        assert run('train', opt) == 0
    one, other = (weights(tmp_path / 'experiments' / name) for name in ('plain', 'prefetched'))
    assert all(torch.equal(one[net][key], other[net][key]) for net in 'gm' for key in one[net])


def test_training_and_validation_can_share_an_lmdb(make_pairs, run):
    pairs = make_pairs(count=4)
    assert maxl_sr.prepare.main(['nam', str(rename_like_nam(pairs)), '-o', str(pairs / 'out'), '--lmdb']) == 0
    opt = train_options('MetaTransferModel', pairs)
    opt['val']['val_freq'] = 1
    for part in opt['datasets'].values():
        part.update(dataroot_gt=f'{pairs}/out/gt.lmdb', dataroot_lq=f'{pairs}/out/lq.lmdb',
                    io_backend={'type': 'lmdb'})
    opt['datasets']['train']['num_worker_per_gpu'] = 1
    assert run('train', opt) == 0


def rename_like_nam(pairs):
    """The pairs in one folder, named as in Nam's data set."""
    folder = pairs / 'nam'
    folder.mkdir()
    for kind, name in (('gt', 'mean'), ('lq', 'real')):
        for path in (pairs / kind).iterdir():
            shutil.copy(path, folder / f'{path.stem}_{name}.png')
    return folder
