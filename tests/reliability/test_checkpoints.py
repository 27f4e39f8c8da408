"""Checkpoints of every kind are loaded where they are unambiguous, and named where they are not; so is a resumption."""

import os
import random
import shutil
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from maxl_sr.adaptation.checkpoint import find_weights_key, saved_rates
from maxl_sr.errors import UserError
from tests.helpers import edited, meta_test_options, train_options

save_file = pytest.importorskip('safetensors.torch').save_file


@pytest.fixture(scope='module')
def once(tmp_path_factory):
    """Folder of what one training of six iterations has written, once it was done."""
    return tmp_path_factory.mktemp('once') / 'experiments'


@pytest.fixture
def experiments(run, pairs, tmp_path, once):
    """Folder ``experiments`` with a training of which six iterations are done."""
    if not once.exists():
        assert run('train', train_options('MAXLModel', pairs)) == 0
        (tmp_path / 'experiments').rename(once)
    return Path(shutil.copytree(once, tmp_path / 'experiments'))


@pytest.fixture
def trained(pairs, experiments, tmp_path):
    """Options of a test of trained networks; what the training wrote is out of the way."""
    return meta_test_options(pairs, experiments.rename(tmp_path / 'trained') / 'tiny/models')


def figures(tmp_path):
    rows = (tmp_path / 'results/tiny_test/tiny.csv').read_text().splitlines()
    return [row.rsplit(',', 1)[0] for row in rows]  # without the seconds


@pytest.mark.slow
def test_unambiguous_checkpoints_give_the_same_figures(run, trained, tmp_path):
    path = Path(trained['path']['pretrain_network_g'])
    weights = torch.load(path)['params']
    assert run('test', trained) == 0
    expected = figures(tmp_path)
    other = OrderedDict((f'module.{key}', value) for key, value in weights.items())
    for content in ({'params_ema': weights}, {'state_dict': weights}, weights, {'model': weights, 'epoch': 3},
                    {'state_dict': other, 'optimizer': {'state': {}, 'param_groups': []}}, {'params': weights},
                    {'params_ema': {k: 0 * v for k, v in weights.items()}, 'params': weights}):
        torch.save(content, path)
        shutil.rmtree(tmp_path / 'results')
        assert run('test', trained) == 0
        assert figures(tmp_path) == expected
    # Others are chosen by param_key
    torch.save({'a': weights, 'b': weights}, path)
    assert run('test', edited(trained, path__param_key_g='a')) == 0
    torch.save(weights, path)
    assert run('test', edited(trained, path__param_key_g=None)) == 0
    del trained['path']['param_key_g']
    safe = str(path.with_suffix('.safetensors'))
    save_file({key: value.contiguous() for key, value in weights.items()}, safe)
    shutil.rmtree(tmp_path / 'results')
    assert run('test', edited(trained, path__pretrain_network_g=safe)) == 0
    assert figures(tmp_path) == expected


def test_ambiguous_checkpoints_name_their_keys(refused, trained):
    path = Path(trained['path']['pretrain_network_g'])
    weights = torch.load(path)['params']
    torch.save({'generator': weights, 'state_dict': weights}, path)
    refused('test', trained, "'generator', 'state_dict'", 'path: param_key_g chooses')
    torch.save({'params': weights, 'state_dict': weights}, path)
    refused('test', edited(trained, path__param_key_g='parms'), "'params', 'state_dict'", "the key 'parms'")
    refused('test', edited(trained, path__param_key_g=None), 'its outermost level', 'path: param_key_g chooses')


def broken(weights, kind):
    key = next(iter(weights))
    changes = {
        'NaN': weights[key].clone().fill_(float('nan')), 'infinity': weights[key].clone().fill_(float('inf')),
        'meta': weights[key].to('meta'), 'sparse': weights[key].reshape(len(weights[key]), -1).to_sparse(),
        'complex': weights[key].to(torch.complex64), 'integers': weights[key].long(),
        'quantized': torch.quantize_per_tensor(weights[key], .1, 0, torch.qint8), 'empty': weights[key][:0],
        'another shape': weights[key].flatten(),
    }  # yapf: disable
    return {**weights, key: changes[kind]}


@pytest.mark.parametrize('kind', ['NaN', 'infinity', 'meta', 'sparse', 'complex', 'integers', 'quantized', 'empty',
                                  'another shape'])
@pytest.mark.filterwarnings('ignore')
def test_weights_that_cannot_be_used(refused, trained, kind):
    path = Path(trained['path']['pretrain_network_g'])
    weights = torch.load(path)['params']
    torch.save({'params': broken(weights, kind)}, path)
    refused('test', trained, 'path: pretrain_network_g', 'net_g_latest.pth', f"'{next(iter(weights))}'")


@pytest.mark.parametrize('content', [{}, {'params': {}}, {'params': None}, {'params': [1]}, {1: torch.zeros(1)}, None,
                                     'text', {'params': {1: torch.zeros(1)}}, {'epoch': 3}, [torch.zeros(1)], 5])
def test_files_without_weights(refused, trained, content):
    torch.save(content, trained['path']['pretrain_network_g'])
    refused('test', trained, 'path: pretrain_network_g', 'net_g_latest.pth')


@pytest.mark.parametrize('kind', ['text', 'cut', 'empty', 'folder', 'pipe'])
def test_safetensors_that_are_none(refused, trained, tmp_path, kind):
    path = tmp_path / 'x.safetensors'
    save_file({'a': torch.zeros(100)}, path)
    whole = path.read_bytes()
    path.unlink()
    {'text': lambda: path.write_text('no weights'), 'cut': lambda: path.write_bytes(whole[:-50]), 'empty': path.touch,
     'folder': path.mkdir, 'pipe': lambda: os.mkfifo(path)}[kind]()
    refused('test', edited(trained, path__pretrain_network_g=str(path)), 'x.safetensors')


class Harmful:
    def __reduce__(self):
        return os.mkdir, ('harmed', )


@pytest.mark.parametrize('key', ['pretrain_network_g', 'resume_state'])
def test_a_checkpoint_runs_nothing(refused, trained, pairs, tmp_path, key):
    torch.save({'params': Harmful()}, tmp_path / 'x.pth')
    refused('train', edited(train_options('MAXLModel', pairs), **{f'path__{key}': 'x.pth'}), f'path: {key}', 'x.pth')
    assert not (tmp_path / 'harmed').exists()


RATES = {'covers_all': torch.tensor(False), 'log_rates.primary_head/0/weight': torch.zeros(1)}


@pytest.mark.parametrize('state', [
    None, 5, [], {}, {'covers_all': torch.tensor(False)}, {'log_rates.x': torch.zeros(1)}, {**RATES, 'covers_all': 1},
    {**RATES, 'covers_all': torch.zeros(3)}, {**RATES, 'x': torch.zeros(1)}, {**RATES, 'log_rates.x': torch.zeros(())},
    {**RATES, 'log_rates.x': torch.zeros(0)}, {**RATES, 'log_rates.x': torch.zeros(1).long()},
    {**RATES, 'log_rates.x': torch.full((1, ), float('nan'))}, {**RATES, 'log_rates.x': torch.zeros(1, device='meta')},
    {**RATES, 'log_rates.x': 'text'},
])  # yapf: disable
def test_inner_rates_that_are_none(refused, trained, state):
    path = trained['path']['pretrain_network_g']
    torch.save({**torch.load(path), 'inner_rates': state}, path)
    refused('test', edited(trained, val__adapt__lr=None), 'net_g_latest.pth', 'inner_rates')
    with pytest.raises(UserError, match='inner_rates'):
        saved_rates(path)


def test_the_choice_of_the_key():
    weights = {'w': torch.zeros(1)}
    for saved, asked, key in [({'params': weights}, 'params_ema', 'params'), ({'params_ema': weights}, 'params',
                              'params_ema'), ({'x': weights}, 'params', 'x'), (weights, 'params', None),
                              (weights, None, None), ({'x': weights}, 'x', 'x'),
                              ({'params': weights, 'params_ema': weights}, 'params_ema', 'params_ema')]:
        assert find_weights_key('path: pretrain_network_g', 'x.pth', saved, asked) == key


# --- going on ---


@pytest.fixture
def begun(pairs, experiments):
    """Options of a training, of which six iterations are done."""
    return edited(train_options('MAXLModel', pairs), train__total_iter=8)


STATES = 'experiments/tiny/training_states'


@pytest.mark.parametrize('name', ['6 (1).state', 'backup.state', '6.state.bak', 'x.6.state', '.7.state', '1e9.state',
                                  '-9.state', 'Kopie von 6.state', '９.state.state'])
def test_other_files_beside_the_states(run, begun, name, capfd):
    shutil.copy(f'{STATES}/2.state', f'{STATES}/{name}')
    assert run('train', begun, '--auto_resume') == 0
    assert 'Resuming training from epoch: 2, iter: 6.' in capfd.readouterr().err


def test_states_that_are_gone(refused, run, begun):
    shutil.rmtree(STATES)
    refused('train', begun, '--auto_resume: ', 'holds no state', 'networks of iteration 6', flags=['--auto_resume'],
            written=True)
    assert Path('experiments/tiny/models/net_g_6.pth').is_file()
    assert run('train', begun) == 0


def test_killed_at_its_first_checkpoint_a_training_begins_anew(run, begun):
    for path in [*Path(STATES).iterdir(), *Path('experiments/tiny/models').iterdir()]:
        if path.name not in ('net_g_2.pth', 'net_m_2.pth'):
            path.unlink()
    assert run('train', begun, '--auto_resume') == 0


def test_what_the_state_overrides_is_told(run, begun, capfd):
    edited(begun, train__optim_g__lr=5e-4, train__scheduler__milestones=[7], train__scheduler__gamma=.1,
           train__optim_m__betas=[.5, .9])
    assert run('train', begun, '--auto_resume') == 0
    told = capfd.readouterr().err
    for text in ('lr 0.001 of optimizer 1 (the option file says 0.0005)', 'milestones [5] of the scheduler (the option '
                 'file says [7])', 'gamma 0.5 of the scheduler (the option file says 0.1)',
                 'betas [0.9, 0.99] of optimizer 2 (the option file says [0.5, 0.9])'):
        assert f'Resumed: the state keeps {text}' in told
    assert 'weight_decay' not in told.split('Resumed')[1]


def test_nothing_is_told_where_nothing_changed(run, begun, capfd):
    assert run('train', begun, '--auto_resume') == 0
    assert 'Resumed: ' not in capfd.readouterr().err


def test_periods_that_the_state_keeps(refused, run, pairs):
    opt = edited(train_options('MAXLModel', pairs), train__scheduler={'type': 'CosineAnnealingRestartLR',
                                                                      'periods': [6], 'restart_weights': [1]})
    assert run('train', opt) == 0
    edited(opt, train__total_iter=9, train__scheduler__periods=[9])
    refused('train', opt, '6.state keeps the scheduler', 'periods [6] end at iteration 6, but total_iter is 9',
            flags=['--auto_resume'], written=True)


def state_with(**changes):
    return {**torch.load(f'{STATES}/6.state'), **changes}


@pytest.mark.parametrize('changes', [
    {'iter': 'six'}, {'iter': -1}, {'iter': 6.0}, {'epoch': None}, {'optimizers': None}, {'optimizers': {}},
    {'optimizers': []}, {'optimizers': [1, 2]}, {'schedulers': []}, {'schedulers': 'x'}, {'iter': True},
])  # yapf: disable
def test_states_that_are_none(refused, begun, changes):
    torch.save(state_with(**changes), f'{STATES}/6.state')
    refused('train', begun, 'path: resume_state', '6.state', flags=['--auto_resume'], written=True)


@pytest.mark.parametrize('change', [
    lambda state: state['optimizers'][0].pop('state'), lambda state: state['optimizers'][0].pop('param_groups'),
    lambda state: state['optimizers'][0]['param_groups'].clear(),
    lambda state: state['optimizers'][0]['param_groups'][0]['params'].pop(),
    lambda state: state['optimizers'][0]['state'].update({0: {'step': torch.tensor(1.), 'exp_avg': torch.zeros(1, 2)}}),
    lambda state: state['optimizers'].reverse(),
])  # yapf: disable
def test_states_that_do_not_fit(refused, begun, change):
    state = state_with()
    change(state)
    torch.save(state, f'{STATES}/6.state')
    refused('train', begun, 'resume_state', 'does not fit this training', flags=['--auto_resume'], written=True)


@pytest.mark.parametrize('kept', [0, 1, 100, 0.5, 0.99])
def test_states_that_are_cut(refused, begun, kept):
    content = Path(f'{STATES}/6.state').read_bytes()
    Path(f'{STATES}/6.state').write_bytes(content[:kept if isinstance(kept, int) else int(kept * len(content))])
    refused('train', begun, 'path: resume_state', '6.state', 'not a whole one', flags=['--auto_resume'], written=True)


@pytest.mark.parametrize('seed', range(6))
def test_damaged_checkpoints_are_refused_or_whole(run, trained, seed, capfd):
    path = Path(trained['path']['pretrain_network_g'])
    content = bytearray(path.read_bytes())
    rng = random.Random(seed)
    for _ in range(20):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)
    code = run('test', trained)
    assert code in (0, 2) and 'Traceback' not in capfd.readouterr().err


def test_what_killed_runs_left_is_cleared_away(run, begun, tmp_path):
    folder = tmp_path / 'experiments/tiny'
    for name in ('models/.partial-abc', 'training_states/.partial-x1'):
        (folder / name).mkdir()
        (folder / name / 'net_g_8.pth').write_text('half')
    (folder / 'visualization/00').mkdir(parents=True)
    (folder / f'visualization/00/.{"0" * 32}.partial.png').write_text('half')
    (folder / 'models/.mine').write_text('a file of the user')
    assert run('train', begun, '--auto_resume') == 0
    assert not [path for path in folder.rglob('*') if 'partial' in path.name]
    assert (folder / 'models/.mine').is_file()
    assert not [path for path in (tmp_path / 'experiments').iterdir() if path.name.startswith('.')]


def test_a_disk_that_is_full(refused, pairs, monkeypatch):
    def write(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('time.sleep', lambda seconds: None)
    monkeypatch.setattr(torch, 'save', write)
    for model, changes in (('MAXLModel', {}), ('MetaTransferModel', {'model_type': 'SRModel'})):
        opt = edited(train_options(model, pairs), **changes)
        if changes:
            del opt['network_m'], opt['train']['aux_opt'], opt['train']['inner'], opt['val']['adapt']
        refused('train', opt, 'cannot write a checkpoint to', 'no checkpoint had been saved yet', written=True)
        assert not [path for path in Path('experiments/tiny').rglob('*') if 'partial' in path.name]
        shutil.rmtree('experiments')
