"""Whether, and how far, to adapt."""

import csv

import pytest
import torch

from maxl_sr.archs.mask_arch import MaskNet
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.compare import results
from maxl_sr.losses.blind_spot_loss import BlindSpotLoss
from maxl_sr.losses.neighbor2neighbor_loss import Neighbor2NeighborLoss
from maxl_sr.meta import BoundNet, Guard, Task, adapt
from tests.helpers import NETS, meta_test_options, tiny_net


class Scripted:
    """A task whose objective takes the values of a list, one after the other."""

    weights = {'w': torch.zeros(1)}

    def __init__(self, *values):
        self.values = iter(values)

    def objective(self, weights):
        return torch.tensor(next(self.values))


@pytest.mark.parametrize('values, margin, step, decrease', [
    ([1.0, 0.8, 0.6, 0.7], 0.05, 2, 0.4),  # the least, not the last
    ([1.0, 0.97, 0.96, 0.99], 0.05, 0, 0.0),  # none is good enough
    ([1.0, 0.97, 0.96, 0.99], 0.0, 2, 0.04),
    ([2.0, 1.8, 1.72, 1.69], 0.05, 3, 0.155),  # the margin is below what was kept, and relative to the start
    ([1.0, 2.0, 3.0, 1.5], 0.0, 0, 0.0),
    ([1.0, float('nan'), 0.5, float('nan')], 0.05, 2, 0.5),
    ([0.0, 0.0, 0.0, 0.0], 0.0, 0, 0.0),
    ([-1.0, -0.97, -1.2, -1.1], 0.05, 2, 0.2),  # an estimate can be negative
])
def test_the_best_step_is_kept_if_it_is_good_enough(values, margin, step, decrease):
    task = Scripted(*values)
    guard = Guard(task, margin)
    candidates = [{'w': torch.full((1, ), float(k))} for k in (1, 2, 3)]
    for k, weights in enumerate(candidates, start=1):
        assert guard.look(k, weights)  # without patience it always goes on
    assert guard.step == step and guard.decrease == pytest.approx(decrease)
    assert guard.weights is (candidates[step - 1] if step else task.weights)


@pytest.mark.parametrize('patience, going_on', [(1, [True, False]), (2, [True, True, True, True, False])])
def test_it_stops_after_so_many_looks_in_vain(patience, going_on):
    guard = Guard(Scripted(1.0, 0.8, 0.9, 0.7, 0.9, 0.69), 0.05, patience)
    assert [guard.look(step, {}) for step in range(1, len(going_on) + 1)] == going_on
    for arguments, name in (((0.05, 0), 'patience'), ((0.05, None, 0), 'every')):
        with pytest.raises(ValueError, match=f'{name} must be at least 1, not 0'):
            Guard(Scripted(1.0), *arguments)


@pytest.mark.parametrize('margin', [-0.1, 1.0, float('nan')])
def test_a_margin_out_of_range_is_refused(margin):
    with pytest.raises(ValueError, match='margin must be at least 0 and less than 1'):
        Guard(Scripted(1.0), margin)


@pytest.mark.parametrize('params', ['heads', 'all'])
def test_a_task_shares_the_features_of_another(params, monkeypatch):
    torch.manual_seed(0)
    net, y = tiny_net(), torch.rand(1, 3, 16, 16)
    calls = []
    forward = net.forward_features
    monkeypatch.setattr(net, 'forward_features', lambda x: calls.append(x.shape[-1]) or forward(x))
    bound = BoundNet(net, y)
    Task(net, BlindSpotLoss(), y, None, params, bound)
    test = Task(net, Neighbor2NeighborLoss(consistency=0), y, None, params, bound)
    assert calls == ([16, 16, 8] if params == 'heads' else [])
    alone = Task(net, Neighbor2NeighborLoss(consistency=0), y, None, params)
    assert torch.equal(test.objective(test.weights), alone.objective(alone.weights))


def test_the_guard_does_not_change_what_it_looks_at():
    torch.manual_seed(0)
    net, y = tiny_net(), torch.rand(1, 3, 16, 16)
    bound = BoundNet(net, y)
    task = Task(net, BlindSpotLoss(), y, None, bound=bound)
    plain = [weights for weights, _ in adapt(task, 3, 0.1)]
    guard = Guard(Task(net, Neighbor2NeighborLoss(), y, None, bound=bound), 0.0)
    for step, (weights, _) in enumerate(adapt(task, 3, 0.1), start=1):
        guard.look(step, weights)
        assert all(torch.equal(weights[name], plain[step - 1][name]) for name in weights)


@pytest.fixture
def guarded(make_pairs, run, tmp_path):
    """Function that tests a tiny network with a guard of some options and returns the exit code."""
    torch.manual_seed(0)
    pairs = make_pairs(count=2)
    for label, kind in (('g', MultiTaskNet), ('m', MaskNet)):
        arguments = {key: value for key, value in NETS[f'network_{label}'].items() if key != 'type'}
        torch.save({'params': kind(**arguments).state_dict()}, tmp_path / f'net_{label}_latest.pth')

    def call(steps=2, **guard):
        opt = meta_test_options(pairs, tmp_path)
        opt['val']['adapt'] = {'steps': steps, 'lr': 1e-3, 'optimizer': 'adam', 'aux_opt': {'type': 'BlindSpotLoss'},
                               'guard': {'aux_opt': {'type': 'SURELoss', 'window': 64, 'flatness': 1e9}, **guard}}
        return run('test', opt)

    return call


def rows(tmp_path):
    with open(tmp_path / 'results/tiny_test/tiny.csv') as file:
        return list(csv.DictReader(file))


def test_a_test_with_a_guard_reports_what_it_chose(guarded, tmp_path):
    assert guarded(margin=0.0, aux_opt={'type': 'BlindSpotLoss'}) == 0  # what the steps lower, the guard accepts
    for row in rows(tmp_path):
        step = int(row['guard_step'])
        assert step > 0 and row['psnr_after'] == row[f'psnr_step{step}'] != row['psnr_before']


def test_an_image_that_the_guard_refuses_stays_as_it_was(guarded, tmp_path):
    assert guarded(margin=0.9) == 0
    for row in rows(tmp_path):
        assert row['guard_step'] == '0' and row['psnr_after'] == row['psnr_before'] and row['ssim_step2']


def test_the_guard_looks_at_every_so_many_steps_and_at_the_last(guarded, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Guard, 'look', lambda self, step, weights: seen.append(step) or True)
    assert guarded(steps=3, every=2) == 0
    assert seen == [2, 3] * 2  # of both images


def test_it_stops_where_the_guard_says_so_and_the_table_is_whole(guarded, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Guard, 'look', lambda self, step, weights: seen.append(step) or len(seen) > 1)
    assert guarded(steps=3, patience=1) == 0
    assert seen == [1, 1, 2, 3]
    first, second = rows(tmp_path)
    assert list(first)[-4:] == ['ssim_step3', 'ssim_after', 'guard_step', 'seconds']
    assert first['psnr_step1'] and not first['psnr_step2'] and first['psnr_after'] == first['psnr_before']
    assert second['psnr_step3']
    assert '| tiny (2) | tiny_test |' in results([tmp_path / 'results/tiny_test'])[0]


@pytest.mark.parametrize('guard, message', [
    ({'patience': 0}, 'val: adapt: guard: patience must be at least 1, not 0'),
    ({'every': 0}, 'val: adapt: guard: every must be at least 1, not 0'),
    ({'margin': 1.0}, 'val: adapt: guard: margin must be less than 1, not 1.0'),
    ({'margin': -0.1}, 'val: adapt: guard: margin must be at least 0, not -0.1'),
    ({'margins': 0.1}, "val: adapt: guard: unknown key 'margins'; did you mean 'margin'?"),
    ({'aux_opt': {'type': 'L1Loss'}}, 'val: adapt: guard: aux_opt: L1Loss is no inner objective'),
])
def test_wrong_options_are_refused(guarded, capsys, guard, message):
    assert guarded(**guard) == 2
    assert message in capsys.readouterr().err
