"""The choice among objectives."""

import pytest
import torch
from torch import nn

from maxl_sr.adaptation import Adapter
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.errors import UserError
from maxl_sr.losses.auto_loss import CANDIDATES, AutoObjective
from maxl_sr.meta import Guard, Task, adapt
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.settings.losses import check_objective

JUDGE = {'type': 'Neighbor2NeighborLoss'}
GOOD, BAD = {'type': 'Neighbor2NeighborLoss'}, {'type': 'Neighbor2NeighborLoss', 'loss_weight': -1.0}  # it ascends


@pytest.fixture(scope='module')
def problem():
    torch.manual_seed(0)
    return MultiTaskNet(num_feat=4, feat_step=2, num_block=1).double(), torch.rand(1, 3, 32, 32, dtype=torch.float64)


def adapter(*candidates, **options):
    aux_opt = {'type': 'auto', 'candidates': list(candidates)} if candidates else {'type': 'auto'}
    return Adapter(Adapt(steps=3, lr=1e-3, optimizer='adam', aux_opt=aux_opt,
                         guard={'margin': 0, 'aux_opt': JUDGE}, **options))


def value(net, y, weights):
    task = Task(net, check_objective('judge', JUDGE), y, None)
    return task.objective(task.weights if weights is None else weights).item()


@pytest.mark.parametrize('order', [(GOOD, BAD), (BAD, GOOD)], ids=['good first', 'bad first'])
def test_the_best_candidate_is_kept_whatever_the_order(problem, order):
    net, y = problem
    found = adapter(*order).adapt(net, y, None)
    assert len(list(found)) == 6 and found.step == 3
    alone = Task(net, check_objective('alone', GOOD), y, None)
    *_, (weights, _) = adapt(alone, 3, 1e-3, 'adam')
    for name, weight in weights.items():
        torch.testing.assert_close(found.weights[name], weight)
    torch.testing.assert_close(found.restored(), alone.restored(weights))


def test_none_is_kept_where_none_serves(problem):
    net, y = problem
    found = adapter(BAD, BAD).adapt(net, y, None)
    assert len(list(found)) == 6 and found.step == 0 and found.weights is None


def test_two_candidates_are_never_worse_than_one_by_the_guard(problem):
    net, y = problem
    blind = {'type': 'BlindSpotLoss'}
    both = adapter(blind, GOOD).adapt(net, y, None)
    list(both)
    for one in (blind, GOOD):
        alone = adapter(one).adapt(net, y, None)
        list(alone)
        assert value(net, y, both.weights) <= value(net, y, alone.weights) + 1e-12


def test_patience_is_of_each_candidate(problem):
    net, y = problem
    guard = Guard(Task(net, check_objective('judge', JUDGE), y, None), margin=0, patience=1)
    steps = [list(guard.watch(adapt(Task(net, check_objective('one', one), y, None), 3, 1e-3, 'adam'), 3))
             for one in (BAD, GOOD)]
    assert [len(taken) for taken in steps] == [1, 3]


def test_without_the_guard_the_first_is_taken(problem):
    net, y = problem
    found = adapter(GOOD, BAD).adapt(net, y, None, guard=False)
    assert len(list(found)) == 3 and found.step == 3


def test_the_defaults():
    assert [type(candidate).__name__ for candidate in adapter().candidates] == list(CANDIDATES)


def test_tensors_go_to_the_device():
    moved = adapter().to('meta')
    assert {buffer.device.type for buffer in moved.objective.buffers()} == {'meta'}


@pytest.mark.parametrize('section, told', [
    ({'candidates': []}, 'candidates must be a list'), ({'candidates': 'SURELoss'}, 'candidates'),
    ({'candidates': [{'type': 'auto'}]}, 'not a choice again'),
    ({'candidates': [{'type': 'Nothing'}]}, r"candidates\[0\]: type: unknown name 'Nothing'"),
    ({'candidates': [{'type': 'L1Loss'}]}, 'no inner objective'), ({'candidate': []}, "unknown key 'candidate'")])
def test_bad_sections(section, told):
    with pytest.raises(UserError, match=told):
        check_objective('val: adapt: aux_opt', {'type': 'auto', **section})


def test_it_needs_a_guard():
    with pytest.raises(UserError, match='auto chooses by the guard; val: adapt: guard is missing'):
        Adapter(Adapt(aux_opt={'type': 'auto'}))


def test_it_is_no_objective_of_a_training(problem):
    net, y = problem
    with pytest.raises(UserError, match='auto chooses an objective for every image'):
        Task(net, AutoObjective(), y, None)
    assert not any(isinstance(part, nn.Parameter) for part in AutoObjective().parameters())
