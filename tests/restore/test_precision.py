"""Precision: what it changes, what it does not, and how the fastest is chosen."""

import numpy as np
import pytest
import torch
from torch import nn

from maxl_sr import Restorer
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.commands import arguments
from maxl_sr.errors import UserError
from maxl_sr.losses.noise_transplant_loss import NoiseTransplantLoss
from maxl_sr.meta import Task, Tiling, adapt
from maxl_sr.restore import precision
from maxl_sr.settings.adaptation import Adapt
from tests.helpers import photograph

LOWER = [name for name in precision.PRECISIONS if name not in ('auto', 'float32')]
ADAPT = Adapt(steps=3, lr=1e-3, optimizer='adam', aux_opt={'type': 'NoiseTransplantLoss', 'flatness': 1e9})


@pytest.fixture(autouse=True)
def no_trial():
    """Here there is one."""


@pytest.fixture(scope='module')
def photo():
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.2, 0.8, 96)[:, None, None] * np.ones((96, 80, 3))
    return (ramp + rng.normal(0, 0.05, ramp.shape)).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize('name', LOWER)
@pytest.mark.parametrize('options', [None, ADAPT], ids=['un-adapted', 'adapted'])
def test_lower_precision_is_near_and_is_used(photo, name, options):
    net = Restorer.from_pretrained('fast', 'cpu', 'float32')._net
    exact = Restorer(net, options, 'cpu', precision='float32').run(photo).image
    near = Restorer(net, options, 'cpu', precision=name).run(photo).image
    assert near.dtype == np.float32
    assert 0 < np.abs(near - exact).max() < 2 / 255


@pytest.mark.parametrize('name', LOWER)
def test_lower_precision_does_not_round_the_image(name):
    rng = np.random.default_rng(0)
    bright = 0.6 + 0.4 * photograph(0, 128, 128) / 255
    image = (bright + rng.normal(0, 0.02, bright.shape)).clip(0, 1).astype(np.float32)
    net = Restorer.from_pretrained('fast', 'cpu', 'float32')._net
    exact, near = (Restorer(net, None, 'cpu', precision=one).run(image).image for one in ('float32', name))
    assert (near - exact).std() < 0.1 / 255  # 0.26 of it where the first layer rounds to bfloat16


def test_float32_is_exact(photo):
    net = MultiTaskNet(num_feat=8, feat_step=4)
    with torch.no_grad():
        expected = net(torch.from_numpy(photo).permute(2, 0, 1)[None]).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(Restorer(net, None, 'cpu', precision='float32').run(photo).image, expected, atol=1e-6)


def test_weights_stay_in_float32(photo):
    restorer = Restorer(MultiTaskNet(num_feat=8, feat_step=4), ADAPT, 'cpu', precision='bfloat16')
    net, step = restorer.adapted(photo)
    assert step == 3 and {weight.dtype for weight in net.parameters()} == {torch.float32}


def test_tiles_go_back_in_the_precision_that_they_came_in():
    torch.manual_seed(0)
    net, y = MultiTaskNet(num_feat=8, feat_step=4), torch.rand(1, 3, 192, 192)
    gradients = []
    for tiling in (None, Tiling(128, net.halo, net.multiple)):
        with precision.computing(torch.device('cpu'), 'bfloat16'):
            task = Task(net, NoiseTransplantLoss(flatness=1e9), y, None, tiling=tiling)
            (weights, _), = adapt(task, 1, 1.0)
        gradients.append(torch.cat([(weights[name] - task.weights[name]).flatten() for name in weights]))
    whole, tiles = gradients
    assert nn.functional.cosine_similarity(whole, tiles, dim=0) > 0.999


@pytest.mark.parametrize('seconds, chosen', [({'float32': 1.0, 'bfloat16': 0.5}, 'bfloat16'),
                                             ({'float32': 1.0, 'bfloat16': 0.95}, 'float32'),
                                             ({'float32': 1.0, 'bfloat16': 3.0}, 'float32')])
def test_the_fastest_is_chosen(monkeypatch, seconds, chosen):
    monkeypatch.setattr(precision, '_candidates', lambda device: ['bfloat16'])
    monkeypatch.setattr(precision, '_seconds', lambda run, device: seconds[run.args[0]])
    assert Restorer(Restorer.from_pretrained('fast', 'cpu', 'float32')._net, device='cpu').precision == chosen


def test_nothing_is_chosen_that_changes_the_image(monkeypatch):
    monkeypatch.setattr(precision, '_candidates', lambda device: ['bfloat16'])
    monkeypatch.setattr(precision, '_seconds', lambda run, device: {'float32': 1.0, 'bfloat16': 0.5}[run.args[0]])
    net = MultiTaskNet(num_feat=8)
    with torch.no_grad():
        net.primary_head[-1].weight.mul_(1e4)
    assert Restorer(net, device='cpu').precision == 'float32'


def test_a_network_that_does_not_take_the_trial_computes_in_float32(monkeypatch):
    class Odd(MultiTaskNet):
        def forward_primary(self, features, x):
            if x.shape[-1] > 40:
                raise IndexError('list index out of range')
            return super().forward_primary(features, x)

    monkeypatch.setattr(precision, '_candidates', lambda device: ['bfloat16'])
    assert Restorer(Odd(num_feat=8), device='cpu').precision == 'float32'


def test_where_memory_is_short_the_trial_takes_a_smaller_image(monkeypatch):
    sides = []

    class Large(MultiTaskNet):
        def forward_primary(self, features, x):
            sides.append(x.shape[-1])
            if x.shape[-1] > 200:
                raise torch.OutOfMemoryError('CUDA out of memory')
            return super().forward_primary(features, x)

    monkeypatch.setattr(precision, 'SIDE', {'cpu': 512})
    monkeypatch.setattr(precision, '_candidates', lambda device: ['bfloat16'])
    monkeypatch.setattr(precision, '_seconds', lambda run, device: {'float32': 1.0, 'bfloat16': 0.5}[run.args[0]])
    assert Restorer(Large(num_feat=8), device='cpu').precision == 'bfloat16'
    assert sides == [512, 256, 128, 128]


def test_a_real_trial_chooses_one_of_them():
    found = Restorer.from_pretrained('fast', 'cpu').precision
    assert found in ('float32', *precision._candidates(torch.device('cpu')))


@pytest.mark.parametrize('given', ['half', '', None, 16])
def test_an_unknown_precision_is_named(given):
    with pytest.raises(UserError, match='precision must be one of auto, float32, bfloat16, float16'):
        Restorer(MultiTaskNet(num_feat=8), device='cpu', precision=given)


def test_the_command_line_offers_the_same():
    assert arguments.PRECISIONS == precision.PRECISIONS
