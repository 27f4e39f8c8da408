"""The blind-spot objective."""

import pytest
import torch
from torch import Tensor

from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.losses.blind_spot_loss import BlindSpotLoss, hide_pixels
from maxl_sr.meta import BoundNet, Objective, Task
from tests.helpers import tiny_net
from tests.losses.whole import Whole


def naive(loss: BlindSpotLoss, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The objective, written out."""
    hidden, blind = hide_pixels(y, loss.ratio, loss.radius, loss.seed)
    error = (net.restored(hidden) - y).abs() * mask * blind
    return loss.loss_weight * error.sum() / (3 * blind.sum())


@pytest.mark.parametrize('height, width, ratio, count', [(20, 30, 0.05, 30), (7, 5, 1.0, 35), (3, 1, 0.1, 1)])
def test_replaced_pixels_come_from_the_neighbourhood(height, width, ratio, count):
    y = torch.stack(torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing='ij'))
    y = y.expand(2, 2, height, width)  # every pixel holds its own position
    hidden, blind = hide_pixels(y, ratio, radius=2)
    assert blind.shape == (2, 1, height, width) and blind.sum() == 2 * count
    moved = (hidden - y).abs().amax(1, keepdim=True)
    assert torch.equal(moved > 0, blind > 0) and moved.max() <= 2
    assert torch.equal(hidden[0], hidden[1])


def test_one_pixel_has_no_neighbour_and_stays():
    hidden, blind = hide_pixels(torch.full((1, 3, 1, 1), 0.5))
    assert blind.item() == 1 and (hidden == 0.5).all()


def test_the_pattern_is_that_of_the_seed():
    y = torch.rand(1, 3, 16, 16)
    assert torch.equal(hide_pixels(y, seed=1)[0], hide_pixels(y, seed=1)[0])
    assert not torch.equal(hide_pixels(y, seed=1)[0], hide_pixels(y, seed=2)[0])


@pytest.mark.parametrize('criterion, power', [('l1', 1), ('l2', 2)])
def test_the_loss_by_hand(criterion, power):
    torch.manual_seed(0)
    net = tiny_net()
    y, mask = torch.rand(2, 3, 8, 9), torch.rand(2, 1, 8, 9)
    loss = BlindSpotLoss(loss_weight=3.0, criterion=criterion, ratio=0.25)
    hidden, blind = hide_pixels(y, 0.25)
    error = (net(hidden) - y).abs() ** power * blind
    assert Task(net, loss, y, None).objective({}).item() == pytest.approx(3 * (error.sum() / (2 * 18 * 3)).item())
    masked = Task(net, loss, y, mask).objective({}).item()
    assert masked == pytest.approx(3 * ((error * mask).sum() / (2 * 18 * 3)).item())


def test_it_is_an_objective_whose_inputs_have_a_batch():
    loss = BlindSpotLoss()
    assert isinstance(loss, Objective)
    y = torch.rand(3, 3, 8, 9)
    assert all(len(tensor) == 3 for tensor in loss.prepare(BoundNet(MultiTaskNet(), y), y))


@pytest.mark.parametrize('arguments, message', [
    ({'ratio': 0}, 'ratio must be greater than 0 and at most 1, not 0'), ({'ratio': 1.5}, 'not 1.5'),
    ({'radius': 0}, 'radius must be an integer of at least 1, not 0'),
    ({'seed': 0.5}, 'seed must be an integer, not 0.5'),
    ({'criterion': 'l3'}, "criterion must be one of l1, l2, charbonnier, not 'l3'"),
])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BlindSpotLoss(**arguments)
