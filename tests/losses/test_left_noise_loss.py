"""What is left of the noise of flat parts, and whether what was taken away was noise."""

import pytest
import torch
from torch import Tensor

from maxl_sr.losses.left_noise_loss import PENALTY, LeftNoiseLoss
from maxl_sr.meta import BoundNet, Objective, Task
from tests.helpers import tiny_net
from tests.losses.blocks import corners, naive_detail, naive_flat
from tests.losses.whole import Whole


def naive(loss: LeftNoiseLoss, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The objective, written out, of images of whose noise something is left; the mask does not count."""
    size, total = loss.block_size, 0
    for image, before, after in zip(y, net.trained(y), net.restored(y)):
        flat, share = naive_flat(image, before, size, loss.least)
        assert share > loss.least_left
        left, noise, within, outside = [], [], [], []
        for (i, j), yes in zip(corners(image.shape, size), flat):
            old, start, now = (picture[:, i:i + size, j:j + size] for picture in (image, before, after))
            (within if yes else outside).append(((start - now) ** 2).mean())
            if yes:
                left.append((naive_detail(now) ** 2).sum())
                noise.append((naive_detail(old) ** 2).sum())
        uneven = sum(outside) / max(len(outside), 1) / (sum(within) / len(within) + 1e-12)
        excess = PENALTY * (uneven - loss.evenness) if uneven > loss.evenness else 0
        total = total + sum(left) / sum(noise) + excess
    return loss.loss_weight * total / len(y)


@pytest.mark.parametrize('evenness, active', [(0.0, True), (99.0, False)])
def test_the_loss_by_hand(evenness, active):
    net, other = tiny_net(seed=0).double(), tiny_net(seed=1).double()
    y = torch.rand(2, 3, 13, 17, dtype=torch.float64)
    loss = LeftNoiseLoss(loss_weight=3.0, evenness=evenness, block_size=3, least=4, least_left=0, most_spread=99,
                         most_rise=99)
    weights = {name: weight.detach() for name, weight in other.named_parameters() if not name.startswith('body')}
    with torch.no_grad():
        value = Task(net, loss, y, None).objective(weights)
        restored = BoundNet(net, y, weights).restored()
        expected = naive(loss, Whole(lambda x: (restored, x), net, net), y, None)
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=0)
        loss.evenness = 99.0
        assert (Task(net, loss, y, None).objective(weights) < value).item() is active


def test_of_the_trained_weights_it_is_what_they_leave():
    """Nothing has changed, so nothing is uneven: a network that halves the image leaves a quarter."""
    class Half(torch.nn.Module):
        def forward_features(self, x):
            return x

        def forward_primary(self, features, x):
            return 0.5 * x

        def forward_heads(self, features, x):
            return 0.5 * x, x

    y = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    loss = LeftNoiseLoss(loss_weight=2.0)
    prepared = loss.prepare(net := BoundNet(Half(), y), y)
    assert loss.loss(net, prepared, None).item() == pytest.approx(2 * 0.25, rel=1e-3)


def test_taking_structure_away_costs_and_taking_noise_away_does_not():
    generator = torch.Generator().manual_seed(0)
    clean = torch.full((1, 3, 96, 96), 0.5)
    clean[..., 48:] += 0.2 * torch.rand(1, 3, 96, 48, generator=generator) - 0.1  # texture
    noise = 0.05 * torch.randn(clean.shape, generator=generator)
    y = clean + noise

    class Keeps(torch.nn.Module):
        """Leaves half of the noise, and all of the texture."""

        def forward_features(self, x):
            return x

        def forward_primary(self, features, x):
            return clean + 0.5 * noise

    loss = LeftNoiseLoss()
    prepared = loss.prepare(BoundNet(Keeps(), y), y)
    less_noise, flat = clean + 0.2 * noise, torch.full_like(clean, 0.5) + 0.2 * noise
    values = {name: loss.loss(lambda features, x, image=image: (image, x), prepared, None).item()
              for name, image in (('before', clean + 0.5 * noise), ('noise', less_noise), ('structure', flat))}
    assert values['noise'] < values['before'] < values['structure']


def test_noise_that_the_network_knows_is_left_alone():
    clean = torch.full((2, 3, 64, 64), 0.5)
    noise = 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    y = clean + noise

    class Knows(torch.nn.Module):
        """Leaves a hundredth of the noise of the first image, half of that of the second."""

        def forward_features(self, x):
            return x

        def forward_primary(self, features, x):
            return clean + torch.tensor([0.01, 0.5]).view(2, 1, 1, 1) * noise

    loss = LeftNoiseLoss()
    prepared = loss.prepare(net := BoundNet(Knows(), y), y)
    assert prepared.active.tolist() == [0, 1]
    assert loss.loss(net, prepared, None).item() == pytest.approx(0.5 ** 2 / 2, rel=1e-3)


def test_it_is_an_objective_whose_inputs_have_a_batch():
    loss, y = LeftNoiseLoss(), torch.rand(3, 3, 18, 9)
    assert isinstance(loss, Objective)
    assert all(len(tensor) == 3 for tensor in loss.prepare(BoundNet(tiny_net(seed=0), y), y))


@pytest.mark.parametrize('arguments, message', [
    ({'block_size': 2}, 'block_size must be an integer of at least 3, not 2'),
    ({'least': 1}, 'least must be an integer of at least 2, not 1'),
    ({'least_left': -1}, 'least_left must be from 0 to 1, not -1'),
    ({'evenness': -1}, 'evenness must be at least 0, not -1'),
    ({'most_spread': -1}, 'most_spread must be at least 0, not -1'),
])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LeftNoiseLoss(**arguments)
