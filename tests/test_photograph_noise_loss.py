"""The photograph noise objective."""

import cv2
import pytest
import torch
from torch import nn

from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.losses.photograph_noise_loss import PhotographNoiseLoss
from maxl_sr.meta import BoundNet, Objective, Task, adapt
from maxl_sr.utils.packaged import PACKAGE


class Keeps(MultiTaskNet):
    """Restores nothing: what it leaves is all of the noise."""

    def forward_primary(self, features, x):
        return x + 0 * self.primary_head(features)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return MultiTaskNet(num_feat=4, feat_step=2, num_block=1).double()


def image(channels=3, side=96, sigma=0.1):
    generator = torch.Generator().manual_seed(1)
    ramp = torch.linspace(0.2, 0.8, side).view(1, 1, side, 1).expand(2, 3, side, side)
    noise = torch.randn(2, channels, side, side, generator=generator).expand(2, 3, side, side)
    return (ramp + sigma * noise).clamp(0, 1).double()


def clean():
    pixels = cv2.imread(str(PACKAGE / 'photographs/clean.png'))[..., ::-1].astype('float64') / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


def test_it_is_an_objective():
    assert isinstance(PhotographNoiseLoss(), Objective)


@pytest.mark.parametrize('criterion, distance', [('l1', torch.abs), ('l2', torch.square)])
def test_the_loss_written_out(net, criterion, distance):
    y = image()
    task = Task(net, PhotographNoiseLoss(3.0, criterion, least_left=0, most_spread=9), y, None)
    copy, target = task.inputs.prepared.copy, task.inputs.prepared.target
    torch.testing.assert_close(target, clean().expand(2, -1, -1, -1))
    weights = {name: weight + 0.05 * torch.randn_like(weight) for name, weight in task.weights.items()}
    error = BoundNet(net, copy, weights).restored() - target
    expected = 3 * distance(error - error.mean((2, 3), keepdim=True)).mean()
    torch.testing.assert_close(task.objective(weights), expected)


def test_what_is_added_is_noise_of_the_image(net):
    y = image(sigma=0.03)
    pair = PhotographNoiseLoss(least_left=0, most_spread=9).prepare(BoundNet(net, y), y)
    inside = (pair.copy > 0) & (pair.copy < 1)
    added = (pair.copy - pair.target)[inside]
    assert added.std().item() == pytest.approx(0.03, rel=0.05) and abs(added.mean().item()) < 1e-3
    # The blocks of two images do not mix
    alone = PhotographNoiseLoss(least_left=0, most_spread=9).prepare(BoundNet(net, y[1:]), y[1:])
    torch.testing.assert_close(pair.copy[1:], alone.copy)
    assert not torch.equal(pair.copy[0], pair.copy[1])
    other = PhotographNoiseLoss(least_left=0, most_spread=9, seed=1).prepare(BoundNet(net, y), y)
    assert not torch.equal(pair.copy, other.copy)


def test_noise_follows_brightness(net):
    y = image()
    y = y + (y - image(sigma=0)) * (y > 0.5)  # twice as strong where it is bright
    pair = PhotographNoiseLoss(least_left=0, most_spread=9, least=32).prepare(BoundNet(net, y), y)
    added, grey = (pair.copy - pair.target).square().mean(1), pair.target.mean(1)
    inside = ((pair.copy > 0.02) & (pair.copy < 0.98)).all(1)
    dark, bright = (added[inside & where].mean().sqrt() for where in (grey < 0.4, grey > 0.6))
    assert bright > 1.1 * dark


def test_grey_images_get_grey_photographs(net):
    y = image(channels=1)
    pair = PhotographNoiseLoss(least_left=0, most_spread=9).prepare(BoundNet(net, y), y)
    for made in (pair.copy, pair.target):
        torch.testing.assert_close(made, made.mean(1, keepdim=True).expand_as(made))


def test_known_noise_is_left_alone():
    y = image()
    assert Task(Keeps(num_feat=4).double(), PhotographNoiseLoss(), y, None).inputs.prepared.active.all()

    class Knows(Keeps):
        def forward_primary(self, features, x):
            return super().forward_primary(features, 0.9 * image(sigma=0)[:1] + 0.1 * x if x.shape == y.shape else x)

    task = Task(Knows(num_feat=4).double(), PhotographNoiseLoss(), y, None)
    assert not task.inputs.prepared.active.any() and task.objective(task.weights) == 0


def test_it_learns_to_remove_noise_that_it_has_never_seen():
    """A network without training learns the stripes of one image and removes them from its texture."""
    torch.manual_seed(0)
    net = MultiTaskNet(num_feat=8, feat_step=4, num_block=1)
    stripes = 0.1 * torch.sin(torch.arange(128.)).expand(1, 3, 128, 128)
    truth = torch.nn.functional.interpolate(0.4 + 0.2 * torch.rand(1, 3, 8, 8), size=128, mode='bicubic')
    task = Task(net, PhotographNoiseLoss(least_left=0, most_spread=9), truth + stripes, None)
    *_, (weights, _) = adapt(task, steps=40, lr=5e-3, optimizer='adam')
    before, after = ((task.restored(at) - truth).square().mean() for at in (task.weights, weights))
    assert after < 0.5 * before


@pytest.mark.parametrize('height, width', [(1, 1), (5, 40), (16, 16), (33, 47)])
def test_any_size(net, height, width):
    y = torch.rand(2, 3, height, width, dtype=torch.float64)
    task = Task(net, PhotographNoiseLoss(least_left=0, most_spread=9), y, None)
    assert torch.isfinite(task.objective(task.weights))


@pytest.mark.parametrize('arguments, told', [
    ({'criterion': 'l3'}, 'criterion'), ({'least_left': -0.1}, 'least_left'), ({'block_size': 1}, 'block_size'),
    ({'least': 1}, 'least'), ({'candidates': 0}, 'candidates'), ({'seed': 0.5}, 'seed')])
def test_bad_arguments(arguments, told):
    with pytest.raises(ValueError, match=f'{told} must be'):
        PhotographNoiseLoss(**arguments)


def test_the_photographs_are_no_part_of_a_checkpoint():
    assert not nn.ModuleList([PhotographNoiseLoss()]).state_dict()
