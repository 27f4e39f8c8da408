"""Where an image is flat, what is left of its noise, and the guard's objective of it."""

import numpy as np
import pytest
import torch
from torch import nn

from maxl_sr.adaptation import Adapter
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.losses.left_noise import TOLERANCE, detail, flat_blocks
from maxl_sr.losses.left_noise_loss import PENALTY, LeftNoiseLoss
from maxl_sr.meta import BoundNet, Guard, Task
from maxl_sr.settings.adaptation import Adapt


class Damps(nn.Module):
    """Keeps a share of the noise, and of the texture, of a known scene; each share is a weight that adapts."""

    def __init__(self, smooth, texture, keeps):
        super().__init__()
        self.register_buffer('smooth', smooth)
        self.register_buffer('texture', texture)
        self.primary_head = nn.ParameterDict({'noise': torch.tensor([float(keeps)]), 'texture': torch.ones(1)})
        self.aux_head = nn.Identity()

    def forward_features(self, x):
        return x - self.smooth - self.texture

    def forward_primary(self, features, x):
        return self.smooth + self.primary_head['texture'] * self.texture + self.primary_head['noise'] * features

    def forward_heads(self, features, x):
        return self.forward_primary(features, x), x


def scene(sigma=0.05, side=128, seed=0):
    """Return a smooth image, texture at its right side, and noise."""
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.linspace(0.3, 0.6, side).view(1, 1, side, 1).repeat(1, 3, 1, side)
    texture = torch.zeros_like(smooth)
    texture[..., side // 2:] = 0.2 * (torch.rand(side, side // 2, generator=generator) - 0.5)
    return smooth.double(), texture.double(), sigma * torch.randn(smooth.shape, generator=generator).double()


def naive_detail(image, size):
    """Blocks of a grid, each less its least-squares quadratic fit, one by one."""
    blocks = []
    for top in range(0, image.shape[-2] - size + 1, size):
        for left in range(0, image.shape[-1] - size + 1, size):
            block = image[:, top:top + size, left:left + size].numpy()
            y, x = np.mgrid[:size, :size] / size
            terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], -1).reshape(size * size, 6)
            rests = []
            for channel in block.reshape(len(block), -1):
                fit, *_ = np.linalg.lstsq(terms, channel, rcond=None)
                rests.append(channel - terms @ fit)
            blocks.append(np.stack(rests))
    return torch.from_numpy(np.stack(blocks))


@pytest.mark.parametrize('height, width, size', [(16, 24, 8), (19, 17, 4), (6, 6, 2)])
def test_detail_is_what_no_quadratic_function_fits(height, width, size):
    image = torch.rand(2, 3, height, width, dtype=torch.float64)
    for one, found in zip(image, detail(image, size)):
        torch.testing.assert_close(found, naive_detail(one, size))


def test_detail_of_what_is_smooth_is_nothing():
    y, x = torch.meshgrid(torch.linspace(0, 1, 32, dtype=torch.float64), torch.linspace(0, 1, 32, dtype=torch.float64),
                          indexing='ij')
    assert detail((0.2 + 0.3 * x - 0.1 * y * y + 0.2 * x * y).view(1, 1, 32, 32), 16).abs().max() < 1e-12


@pytest.mark.parametrize('keeps', [0.0, 0.3, 0.7])
@pytest.mark.parametrize('sigma', [0.01, 0.05, 0.15])
def test_flat_blocks_are_found_whatever_the_noise_and_what_is_left_of_it(keeps, sigma):
    smooth, texture, noise = scene(sigma)
    clean = smooth + texture
    found = flat_blocks(clean + noise, clean + keeps * noise, 16, 2)
    flat = found.flat.view(8, 8)
    assert flat[:, :4].float().mean() > 0.9
    if sigma < 0.1:  # below the texture
        assert not flat[:, 4:].any()
    assert found.share.item() == pytest.approx(keeps ** 2, abs=TOLERANCE)
    assert found.energy[found.flat].mean().sqrt().item() == pytest.approx(sigma, rel=0.05)


def test_clipped_blocks_tell_nothing():
    smooth, texture, noise = scene()
    smooth[..., :64, :64] = 1
    flat = flat_blocks((smooth + texture + noise).clamp(0, 1), smooth + texture, 16, 2).flat.view(8, 8)
    assert not flat[:4, :4].any() and flat[4:, :4].any()


@pytest.mark.parametrize('height, width', [(1, 1), (3, 50), (16, 16), (40, 17)])
def test_any_size(height, width):
    y = torch.rand(2, 3, height, width)
    found = flat_blocks(y, 0.5 * y, 16, 16)
    assert found.flat.any(1).all()


@pytest.mark.parametrize('evenness', [0.0, 1.2])
def test_the_loss_written_out(evenness):
    torch.manual_seed(0)
    net = MultiTaskNet(num_feat=4, feat_step=2, num_block=1).double()
    y = torch.rand(2, 3, 32, 48, dtype=torch.float64)
    objective = LeftNoiseLoss(2.0, evenness, 0.0, float('inf'), block_size=8, least=3)
    task = Task(net, objective, y, None)
    weights = {name: weight + 0.05 * torch.randn_like(weight) for name, weight in task.weights.items()}
    before, after = net(y), task.restored(weights)
    expected = 0.0
    for i in range(2):
        rest, left, start = (naive_detail(image[i].detach(), 8).square().mean((1, 2))
                             for image in (y, after, before.clamp(0, 1)))
        share = start / (rest + 1e-7)
        flat = share <= share.quantile(0.02) + TOLERANCE
        flat[share.argsort()[:3]] = True
        change = torch.stack([(before - after)[i, :, top:top + 8, at:at + 8].detach().square().mean()
                              for top in range(0, 32, 8) for at in range(0, 48, 8)])
        uneven = change[~flat].mean() / change[flat].mean() - evenness if not flat.all() else torch.tensor(0.0)
        expected += left[flat].sum() / rest[flat].sum() + PENALTY * uneven.clamp_min(0)
    torch.testing.assert_close(task.objective(weights), expected.to(torch.float64))


def guarded(keeps, **shares):
    smooth, texture, noise = scene()
    net = Damps(smooth, texture, keeps).double()
    guard = Guard(Task(net, LeftNoiseLoss(), smooth + texture + noise, None), 0.05)
    adapted = {f'primary_head.{name}': torch.tensor([share]).double() for name, share in shares.items()}
    guard.look(1, {**guard.weights, **adapted})
    return guard


def test_the_guard_keeps_what_takes_noise_away():
    assert guarded(0.7, noise=0.3).step == 1
    assert guarded(0.7, noise=0.9).step == 0  # more is left


def test_the_guard_refuses_what_takes_texture_away():
    assert guarded(0.7, noise=0.3, texture=0.95).step == 1  # hardly any
    assert guarded(0.7, noise=0.3, texture=0.4).step == 0
    assert guarded(0.7, texture=0.4).step == 0


def test_noise_that_the_network_knows_is_left_alone():
    assert guarded(0.1, noise=0.0).idle  # a hundredth is left
    assert not guarded(0.7).idle


def test_what_differs_in_strength_is_no_noise():
    """Texture that the network half removes: its blocks are not alike."""
    y, texture = torch.full((1, 3, 128, 128), 0.5).double(), torch.randn(1, 3, 128, 128).double()
    strength = torch.linspace(0.01, 0.06, 8).repeat_interleave(16).view(1, 1, 1, 128)
    found = flat_blocks(y + strength * texture, y + 0.7 * strength * texture, 16, 16)
    energy = found.energy[found.flat]
    assert found.spread.item() == pytest.approx((energy.std(unbiased=False) / energy.mean()).item(), rel=1e-4)
    assert found.unknown(0.1, 0.3, 9).item() == 0 and found.unknown(0.1, 2, 9).item() == 1
    even = flat_blocks(y + 0.03 * texture, y + 0.7 * 0.03 * texture, 16, 16)
    assert even.unknown(0.1, 0.3, 1.2).item() == 1 and even.unknown(0.6, 0.3, 1.2).item() == 0


def test_what_is_left_more_or_less_from_block_to_block_is_no_noise():
    """An image of texture alone, of which the network leaves another share in every block."""
    torch.manual_seed(0)
    y, texture = torch.full((1, 3, 128, 128), 0.5).double(), 0.03 * torch.randn(1, 3, 128, 128).double()
    left = torch.linspace(0.4, 0.9, 8).repeat_interleave(16).view(1, 1, 1, 128)
    found = flat_blocks(y + texture, y + left * texture, 16, 8)
    share = (found.left / found.energy).flatten()
    expected = share.quantile(0.1) / share.quantile(0.02)
    torch.testing.assert_close(found.rise.squeeze(), expected, rtol=1e-2, atol=0)
    noise = 0.03 * torch.randn(1, 3, 128, 128).double()  # a fifth of the image is flat
    flat = torch.where(torch.arange(128) < 32, 0, 1) * texture
    partly = flat_blocks(y + flat + noise, y + flat + 0.7 * noise, 16, 8)
    assert partly.rise.item() < 1.1
    strength = torch.linspace(0.4, 3, 64).view(1, 1, 8, 8).repeat_interleave(16, 2).repeat_interleave(16, 3)
    rough = flat_blocks(y + strength * texture + noise, y + strength * texture + 0.1 * noise, 16, 8)
    assert rough.rise.item() > 1.2 and rough.unknown(0.1, 9, 1.2).item() == 0


def test_an_idle_guard_ends_the_adaptation_before_it_begins(monkeypatch):
    smooth, texture, noise = scene()
    y = smooth + texture + noise
    options = Adapt(steps=5, lr=1e-3, optimizer='adam', aux_opt={'type': 'PhotographNoiseLoss'},
                    guard={'aux_opt': {'type': 'LeftNoiseLoss'}})
    adapter, net = Adapter(options), Damps(smooth, texture, 0.1).double()
    monkeypatch.setattr(adapter.objective, 'prepare', None)  # which would fail
    found = adapter.adapt(net, y, None)
    assert list(found) == [] and found.step == 0 and found.weights is None
    torch.testing.assert_close(found.restored(), BoundNet(net, y).restored())


@pytest.mark.parametrize('arguments, told', [({'evenness': -1}, 'evenness'), ({'least_left': 2}, 'least_left'),
                                             ({'block_size': 1}, 'block_size'), ({'least': 0}, 'least'),
                                             ({'most_spread': -1}, 'most_spread'), ({'most_rise': 0.5}, 'most_rise')])
def test_bad_arguments(arguments, told):
    with pytest.raises(ValueError, match=f'{told} must be'):
        LeftNoiseLoss(**arguments)
