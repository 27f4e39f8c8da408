"""Meta-gradients on a GPU: in float64 those of the processor, and what they need of its memory."""

import copy

import pytest
import torch

from maxl_sr.archs.mask_arch import MaskNet
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.meta import InnerRates
from tests.meta.test_objective_gradients import OBJECTIVES
from tests.meta.unrolled import EXACT, LR, Problem, assert_close, gradients, ours_maxl, ours_transfer

pytestmark = pytest.mark.gpu
DEVICE = 'cuda'


def moved(problem, device=DEVICE):
    for name in ('net', 'mask_net', 'y', 'x', 'objective'):
        setattr(problem, name, getattr(problem, name).to(device))
    return problem


def on_both(loss, weights_of=Problem.weights):
    """The gradients of a loss on the GPU, back on the processor, and there."""
    here, there = Problem(), moved(Problem())
    return ([g.cpu() for g in gradients(loss(there), weights_of(there))],
            gradients(loss(here), weights_of(here)))


@pytest.mark.parametrize('params', ['heads', 'all', 'gains', 'input'])
@pytest.mark.parametrize('meta_gradient, samples', EXACT)
def test_transfer_gives_what_the_processor_gives(params, meta_gradient, samples):
    theirs, ours = on_both(lambda problem: ours_transfer(problem, 3, params, meta_gradient, samples=samples))
    assert_close(theirs, ours, range(99), 1e-9)


def test_maxl_gives_what_the_processor_gives():
    theirs, ours = on_both(ours_maxl, lambda problem: list(problem.mask_net.parameters()))
    assert_close(theirs, ours, range(99), 1e-9)


@pytest.mark.parametrize('meta_gradient', ['stored', 'replay'])
def test_learned_rates_give_what_the_processor_gives(meta_gradient):
    found = []
    for device in (DEVICE, 'cpu'):
        problem = moved(Problem(), device)
        rates = InnerRates(problem.net, LR, 'heads', 'tensor', 3).to(device)
        loss = ours_transfer(problem, 3, 'heads', meta_gradient, rates=rates(3))
        found.append([g.cpu() for g in gradients(loss, [*problem.weights(), *rates.parameters()])])
    assert_close(*found, range(199), 1e-9)


def test_the_replay_needs_less_memory():
    peaks = {}
    for meta_gradient in ('stored', 'replay'):
        problem = Problem()
        problem.net, problem.mask_net = MultiTaskNet(num_feat=16, feat_step=8), MaskNet(num_feat=8)
        problem.y = problem.x = torch.rand(1, 3, 96, 96)
        moved(problem)
        gradients(ours_transfer(problem, 2, 'heads', meta_gradient), problem.weights())
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        gradients(ours_transfer(problem, 8, 'heads', meta_gradient), problem.weights())
        peaks[meta_gradient] = torch.cuda.max_memory_allocated() - before
    assert peaks['replay'] < 0.5 * peaks['stored']


@pytest.mark.parametrize('objective', OBJECTIVES)
def test_every_objective_gives_what_the_processor_gives(objective):
    found = []
    for device in (DEVICE, 'cpu'):
        problem = Problem()
        problem.objective = copy.deepcopy(OBJECTIVES[objective])
        moved(problem, device)
        loss = ours_transfer(problem, 2, 'heads')
        found.append([loss.detach().cpu(), *(g.cpu() for g in gradients(loss, problem.weights()))])
    assert_close(*found, ['the loss', *range(99)], 1e-8)
