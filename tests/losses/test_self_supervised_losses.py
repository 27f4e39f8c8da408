"""Recorruption, Neighbor2Neighbor, and the sum of objectives."""

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.errors import UserError
from maxl_sr.losses.neighbor2neighbor_loss import Neighbor2NeighborLoss, neighbors
from maxl_sr.losses.recorruption_loss import RecorruptionLoss, recorrupt
from maxl_sr.losses.sum_loss import SumObjective
from maxl_sr.meta import BoundNet, Objective, Task
from maxl_sr.settings.losses import check_objective
from tests.helpers import tiny_net
from tests.losses.whole import Whole


def naive_neighbors(loss: Neighbor2NeighborLoss, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The objective of neighbours, written out."""
    (first, second), weight = neighbors(y, loss.seed), neighbors(mask, loss.seed)[0]
    one, two = neighbors(net.first(y), loss.seed)
    difference = net.restored(first) - second
    error = difference.abs() + loss.consistency * (difference - (one - two)).abs()
    return loss.loss_weight * (error * weight).mean()


def naive_recorruption(loss: RecorruptionLoss, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The objective of the image's own noise elsewhere, written out."""
    target = net.first(y).clamp(0, 1)
    return loss.loss_weight * ((net.restored(recorrupt(y, target, loss.seed)) - target).abs() * mask).mean()


def small_net():
    torch.manual_seed(0)
    return tiny_net()


def test_recorrupted_noise_is_that_of_another_place_of_the_grid():
    restored = torch.full((2, 3, 48, 64), 0.5)
    noise = torch.linspace(-0.4, 0.4, 48 * 64).view(48, 64).expand(2, 3, -1, -1)
    again = recorrupt(restored + noise, restored) - restored
    assert torch.equal(again.flatten().sort().values, (restored + noise - restored).flatten().sort().values)
    place = (noise[0, 0] - again[0, 0, 0, 0]).abs().argmin().item()
    assert place > 0 and place // 64 % 8 == place % 64 % 8 == 0


def test_recorrupted_images_stay_in_their_range_and_seeds_differ():
    y, restored = torch.rand(2, 1, 3, 40, 40)
    one, other = recorrupt(y, restored, 0), recorrupt(y, restored, 1)
    assert 0 <= one.min() and one.max() <= 1 and not torch.equal(one, other)


def test_neighbors_are_neighbours():
    y = torch.stack(torch.meshgrid(torch.arange(7.0), torch.arange(10.0), indexing='ij')).expand(2, 2, 7, 10)
    first, second = neighbors(y)
    assert first.shape == second.shape == (2, 2, 3, 5)
    assert ((first - second).abs().sum(1) == 1).all()  # side by side or one below the other
    cells = torch.stack(torch.meshgrid(torch.arange(3.0), torch.arange(5.0), indexing='ij'))
    assert torch.equal((first / 2).floor(), cells.expand(2, 2, 3, 5))
    assert not torch.equal(first, neighbors(y, seed=1)[0])


def test_neighbor2neighbor_by_hand():
    net, y, mask = small_net(), torch.rand(2, 3, 8, 10), torch.rand(2, 1, 8, 10)
    (first, second), weight = neighbors(y), neighbors(mask)[0]
    one, two = neighbors(net(y))
    difference = net(first) - second
    expected = (difference.abs() + 2 * (difference - one + two).abs()) * weight
    loss = Task(net, Neighbor2NeighborLoss(loss_weight=3.0, consistency=2.0), y, mask).objective({})
    assert loss.item() == pytest.approx(3 * expected.mean().item(), rel=1e-5)


def test_recorruption_by_hand():
    net, y, mask = small_net(), torch.rand(2, 3, 32, 40), torch.rand(2, 1, 32, 40)
    target = net(y).clamp(0, 1)
    expected = ((net(recorrupt(y, target)) - target).abs() * mask).mean()
    loss = Task(net, RecorruptionLoss(loss_weight=3.0), y, mask).objective({})
    assert loss.item() == pytest.approx(3 * expected.item(), rel=1e-5)


def test_a_sum_of_objectives_is_their_sum():
    net, y, mask = small_net(), torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16)
    sections = [{'type': 'MaskedReconstructionLoss'}, {'type': 'BlindSpotLoss', 'loss_weight': 0.3},
                {'type': 'RecorruptionLoss'}, {'type': 'NoiseTransplantLoss', 'block_size': 4}]
    together = SumObjective(sections)
    parts = [Task(net, part, y, mask).objective({}) for part in together.objectives]
    assert Task(net, together, y, mask).objective({}).item() == pytest.approx(sum(parts).item(), rel=1e-5)


@pytest.mark.parametrize('objective', [RecorruptionLoss(), Neighbor2NeighborLoss(),
                                       SumObjective([{'type': 'BlindSpotLoss'}, {'type': 'RecorruptionLoss'}])])
def test_they_are_objectives_whose_inputs_have_a_batch(objective):
    y = torch.rand(3, 3, 18, 12)
    assert isinstance(objective, Objective)
    prepared = tree_leaves(objective.prepare(BoundNet(MultiTaskNet(), y), y))
    assert len(prepared) > 2 and all(len(tensor) == 3 for tensor in prepared)


@pytest.mark.parametrize('kind, arguments, message', [
    (RecorruptionLoss, {'seed': 'a'}, "seed must be an integer, not 'a'"),
    (RecorruptionLoss, {'criterion': 'l3'}, 'criterion must be one of'),
    (Neighbor2NeighborLoss, {'consistency': -1}, 'consistency must be at least 0, not -1'),
    (Neighbor2NeighborLoss, {'seed': 1.5}, 'seed must be an integer, not 1.5'),
    (SumObjective, {'objectives': []}, 'objectives must be a list of sections'),
])
def test_wrong_arguments_are_refused(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


@pytest.mark.parametrize('section, message', [
    ({'type': 'BlindSpot'}, r"objectives\[0\]: type: unknown name 'BlindSpot'; did you mean 'BlindSpotLoss'"),
    ({'type': 'L1Loss'}, r'objectives\[0\]: L1Loss is no inner objective'),
])
def test_a_sum_names_the_part_that_is_wrong(section, message):
    with pytest.raises(UserError, match=message):
        SumObjective([section])


@pytest.mark.parametrize('kind', ['BlindSpotLoss', 'NoiseTransplantLoss', 'RecorruptionLoss', 'SURELoss'])
def test_what_compares_images_of_one_size_is_refused_for_super_resolution(kind):
    message = f'aux_opt: {kind} compares images of one size, it cannot be used with scale: 2'
    with pytest.raises(UserError, match=message):
        check_objective('aux_opt', {'type': kind}, 2)
    with pytest.raises(UserError, match='SumObjective compares'):
        check_objective('aux_opt', {'type': 'SumObjective', 'objectives': [{'type': kind}]}, 2)
    check_objective('aux_opt', {'type': kind})
    check_objective('aux_opt', {'type': 'SumObjective', 'objectives': [{'type': 'MaskedReconstructionLoss'}]}, 2)
