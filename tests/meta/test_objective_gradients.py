"""The meta-gradients of every objective in float64, against its naive reference unrolled."""

import pytest
import torch

from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet
from maxl_sr.losses.blind_spot_loss import BlindSpotLoss, _pattern
from maxl_sr.losses.left_noise_loss import LeftNoiseLoss
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.losses.neighbor2neighbor_loss import Neighbor2NeighborLoss
from maxl_sr.losses.noise_transplant_loss import NoiseTransplantLoss
from maxl_sr.losses.photograph_noise_loss import PhotographNoiseLoss
from maxl_sr.losses.redegradation_loss import RedegradationLoss
from maxl_sr.losses.sum_loss import SumObjective
from maxl_sr.losses.sure_loss import SURELoss
from tests.helpers import slow
from tests.meta.unrolled import (
    EXACT,
    Problem,
    assert_close,
    gradients,
    naive_maxl,
    naive_space_transfer,
    naive_transfer,
    ours_maxl,
    ours_transfer,
)

ONE_PART = {'block_size': 3, 'least_left': 0, 'most_spread': 99, 'most_rise': 99}
PHOTOGRAPH = PhotographNoiseLoss(least=4, candidates=2, **ONE_PART)
PHOTOGRAPH.photographs = PHOTOGRAPH.photographs[..., :8, :10].clone()  # a part is enough
OBJECTIVES = {
    'paper': MaskedReconstructionLoss(),
    'per mask': MaskedReconstructionLoss(per_mask=True),
    'blind spots': BlindSpotLoss(ratio=0.2),
    'neighbours': Neighbor2NeighborLoss(),
    'any blur': RedegradationLoss(kernel_size=3, tolerance=99),  # no blur is known
    'known blur': RedegradationLoss(kernel_size=3, estimate='image'),
    'transplant': NoiseTransplantLoss(block_size=2, share=0.3, candidates=2, flatness=99),
    'risk': SURELoss(block_size=2, share=0.3, candidates=2, flatness=99),
    'photograph': PHOTOGRAPH,
    'left noise': LeftNoiseLoss(1e-5, evenness=0.3, least=3, **ONE_PART),  # less even than that
    'sum': SumObjective([{'type': 'Neighbor2NeighborLoss'}, {'type': 'RecorruptionLoss', 'loss_weight': 0.5},
                         {'type': 'NoiseTransplantLoss', 'block_size': 2, 'share': 0.3, 'candidates': 2,
                          'flatness': 99}, {'type': 'MaskedReconstructionLoss'}]),
}
ROUNDED = {'left noise': 1e-10}  # the error of the loss: it is a ratio of small differences


@pytest.mark.parametrize('arch', [MultiTaskNet, *slow(ParallelMultiTaskNet)])
@pytest.mark.parametrize('params', ['heads', *slow('all')])
@pytest.mark.parametrize('objective', OBJECTIVES)
@pytest.mark.parametrize('steps', [3, *slow(1, 5)])
def test_transfer_equals_unrolled_autograd(arch, params, objective, steps):
    _pattern.cache_clear()
    problem = Problem(arch)
    problem.objective = OBJECTIVES[objective]
    names, weights = zip(*problem.named())
    together = ours_transfer(problem, steps, params, samples='together')  # first: vmap makes the blind spots
    naive = naive_transfer(problem, steps, params)
    torch.testing.assert_close(together, naive, rtol=ROUNDED.get(objective, 1e-12), atol=0)
    reference = gradients(naive, weights)
    for meta_gradient, samples in EXACT:
        ours = ours_transfer(problem, steps, params, meta_gradient, samples=samples)
        torch.testing.assert_close(ours, naive, rtol=ROUNDED.get(objective, 1e-12), atol=0)
        assert_close(gradients(ours, weights), reference, names, 1e-9)
    reached = {name.split('.')[0] for name, g in zip(names, reference) if g.norm() > 0}
    if arch is MultiTaskNet and objective == 'paper':
        # in the parallel network L_aux does not reach what L_pri reads, when heads adapt
        assert reached == {'body', 'primary_head', 'aux_head', 'mask'}


@pytest.mark.parametrize('space', ['gains', *slow('input')])
@pytest.mark.parametrize('objective', ['paper', 'blind spots', 'neighbours', *slow('transplant', 'photograph',
                                                                                    'left noise', 'sum')])
def test_gains_and_offset_of_the_input_equal_unrolled_autograd(space, objective):
    _pattern.cache_clear()
    problem = Problem()
    problem.objective = OBJECTIVES[objective]
    names, weights = zip(*problem.named())
    together = ours_transfer(problem, 3, space, samples='together')
    naive = naive_space_transfer(problem, 3, space)
    torch.testing.assert_close(together, naive, rtol=ROUNDED.get(objective, 1e-12), atol=0)
    reference = gradients(naive, weights)
    for meta_gradient, samples in EXACT:
        ours = ours_transfer(problem, 3, space, meta_gradient, samples=samples)
        torch.testing.assert_close(ours, naive, rtol=ROUNDED.get(objective, 1e-12), atol=0)
        assert_close(gradients(ours, weights), reference, names, 1e-9)


@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
@pytest.mark.parametrize('scale', [2, *slow(3, 4)])
@pytest.mark.parametrize('objective', ['paper', 'any blur'])
def test_super_resolution_equals_unrolled_autograd(arch, scale, objective):
    problem = Problem(arch, scale=scale)
    problem.objective = OBJECTIVES[objective]
    names, weights = zip(*problem.named())
    reference = gradients(naive_transfer(problem, 2, 'heads'), weights)
    for meta_gradient, samples in EXACT:
        assert_close(gradients(ours_transfer(problem, 2, 'heads', meta_gradient, samples=samples), weights), reference,
                     names, 1e-9)
    weights = list(problem.mask_net.parameters())
    assert_close(gradients(ours_maxl(problem), weights), gradients(naive_maxl(problem), weights), range(99), 1e-9)
