"""The noise transplant objective."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.losses.flat_noise import WINDOW, blocks_of, transplant_noise
from maxl_sr.losses.loss_util import local_mean
from maxl_sr.losses.noise_transplant_loss import NoiseTransplantLoss
from maxl_sr.losses.sure_loss import SURELoss
from maxl_sr.meta import BoundNet, Objective, Task, adapt
from tests.helpers import tiny_net
from tests.losses.whole import Whole


def naive_clean_copy(loss: NoiseTransplantLoss | SURELoss, net: Whole, y: Tensor) -> tuple[Tensor, Tensor]:
    """The image of half the size, restored, of the brightness of the restored image, and the same enlarged again."""
    def half(image):
        sides = [side // loss.noise.ratio for side in image.shape[-2:]]
        return F.interpolate(image, sides, mode='bicubic', antialias=True).clamp(0, 1)

    copy = net.first(half(y)).clamp(0, 1)
    copy = (copy + local_mean(half(net.first(y)) - copy, WINDOW)).clamp(0, 1)
    return copy, F.interpolate(copy, y.shape[-2:], mode='bicubic').clamp(0, 1)


def naive(loss: NoiseTransplantLoss, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The objective, written out, of an image that has flat parts."""
    target, smooth = naive_clean_copy(loss, net, y)
    noise = loss.noise
    copy, flatness = transplant_noise(y, smooth, target, noise.block_size, noise.share, noise.candidates, noise.seed)
    assert (flatness < noise.flatness).all() and not loss.window
    weight = F.interpolate(mask, target.shape[-2:], mode='bilinear')
    error = net.restored(copy) - target
    error = error - error.mean((2, 3), keepdim=True)
    return loss.loss_weight * (error.abs() * weight).mean()


def noise_like(image, sigma, seed=0):
    return sigma * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))


def test_blocks_are_those_of_a_grid_row_by_row():
    image = torch.arange(2 * 7 * 9.0).view(1, 2, 7, 9)
    blocks = blocks_of(image, 3)
    assert blocks.shape == (1, 6, 2, 9)  # the last row is left out
    assert torch.equal(blocks[0, 4, 1], image[0, 1, 3:6, 3:6].flatten())


def test_the_noise_of_flat_blocks_comes_along_and_that_of_others_does_not():
    smooth = torch.full((1, 3, 64, 64), 0.5)
    smooth[..., 32:] += 0.2 * torch.rand(64, 32)  # texture at the right
    noise = torch.zeros_like(smooth)
    noise[..., :32] = torch.arange(32 * 64.).view(64, 32) / 1e5  # each pixel's own, where it is flat
    noise[..., 32:] = 0.3
    target = torch.full((1, 3, 32, 32), 0.5)
    added = transplant_noise(smooth + noise, smooth, target, block_size=8, share=0.25)[0] - target
    whole = {tuple((block * 1e5).round().int().tolist()) for block in blocks_of(noise[..., :32], 8)[0, :, 0]}
    assert {tuple((block * 1e5).round().int().tolist()) for block in blocks_of(added, 8)[0, :, 0]} <= whole


def test_the_noise_fits_the_intensity():
    smooth = torch.full((1, 3, 64, 64), 0.3)
    smooth[..., 32:, :] = 0.7
    noise = noise_like(smooth, 1.0) * torch.where(smooth > 0.5, 0.05, 0.01)
    added = transplant_noise(smooth + noise, smooth, smooth, block_size=8, share=0.5, candidates=4)[0] - smooth
    assert added[..., :32, :].std() == pytest.approx(0.01, rel=0.1)
    assert added[..., 32:, :].std() == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize('height, width, size', [(20, 33, 16), (5, 7, 16), (17, 16, 8), (1, 1, 8)])
def test_any_size(height, width, size):
    y = torch.rand(2, 3, height, width)
    target = torch.rand(2, 3, max(height // 2, 1), max(width // 2, 1))
    assert transplant_noise(y, y, target, size)[0].equal(target)  # there is no noise
    assert transplant_noise(y, y * 0.9, target, size)[0].shape == target.shape


def test_other_seeds_other_blocks_and_images_do_not_mix():
    y = torch.rand(2, 3, 64, 64)
    smooth, target = torch.full_like(y, 0.5), torch.full((2, 3, 32, 32), 0.5)
    first, other = (transplant_noise(y, smooth, target, 8, seed=seed)[0] for seed in (0, 1))
    assert not torch.equal(first, other)
    alone = transplant_noise(y[1:], smooth[1:], target[1:], 8)[0]
    assert torch.equal(first[1:], alone)


def test_how_flat_the_flat_blocks_are():
    """A ramp of slope s along the rows and noise of variance v: s² / v, but for the last row, which has no next."""
    smooth = torch.linspace(0, 1, 64).view(-1, 1).expand(1, 3, -1, 64).contiguous()
    noise = noise_like(smooth, 0.1)
    flatness = transplant_noise(smooth + noise, smooth, smooth, block_size=8)[1]
    assert flatness.item() == pytest.approx((1 / 63) ** 2 / 0.01, rel=0.2)


def test_an_image_without_flat_parts_is_left_alone():
    torch.manual_seed(0)
    texture, flat = F.interpolate(torch.rand(1, 3, 16, 16), scale_factor=4), torch.full((1, 3, 64, 64), 0.5)
    y = torch.cat([texture, flat + noise_like(flat, 0.1)])
    active = NoiseTransplantLoss().prepare(BoundNet(Half(), y), y)[3]
    assert active.flatten().tolist() == [0, 1]
    task = Task(Half(), NoiseTransplantLoss(), texture, None)
    (weights, loss), = adapt(task, 1, 0.1)
    assert loss.item() == 0 and torch.equal(task.restored(weights), 0.5 * texture)


class Half(nn.Module):
    """Restores by its one weight: the output is w · y."""

    def __init__(self):
        super().__init__()
        self.primary_head = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(self.primary_head.weight, 0.5)

    def forward_features(self, x):
        return x * 1

    def forward_primary(self, features, x):
        return features * self.primary_head.weight.view(())

    def forward_heads(self, features, x):
        return self.forward_primary(features, x), features


@pytest.mark.parametrize('criterion, power', [('l1', 1), ('l2', 2)])
@pytest.mark.parametrize('window, rows, columns', [(0, slice(None), slice(None)), (1, [0, 2, 4, 6], [0, 2, 4])])
def test_the_loss_by_hand(criterion, power, window, rows, columns):
    y, mask = torch.rand(1, 3, 16, 12), torch.rand(1, 1, 16, 12)
    net = Half()
    loss = NoiseTransplantLoss(loss_weight=3.0, criterion=criterion, window=window, block_size=4, flatness=float('inf'))
    task = Task(net, loss, y, mask)
    target = 0.5 * F.interpolate(y, size=(8, 6), mode='bicubic', antialias=True).clamp(0, 1)
    restored = F.interpolate(0.5 * y, size=(8, 6), mode='bicubic', antialias=True).clamp(0, 1)
    target = (target + (restored - target).mean((2, 3), keepdim=True)).clamp(0, 1)  # the window covers it all
    smooth = F.interpolate(target, size=(16, 12), mode='bicubic').clamp(0, 1)
    copy = transplant_noise(y, smooth, target, 4)[0]
    error = (0.5 * copy - target)[..., rows, :][..., columns]
    error = (error - error.mean((2, 3), keepdim=True)).abs() ** power
    weight = F.interpolate(mask, size=(8, 6), mode='bilinear')[..., rows, :][..., columns]
    assert task.objective({}).item() == pytest.approx(3 * (error * weight).mean().item(), rel=1e-5)


def test_the_brightness_is_that_of_the_restored_image():
    """Noise clipped at white makes an image darker; a network that knows it is not taught otherwise."""
    class Knows(Half):
        def forward_primary(self, features, x):
            known = features.shape[-1] == 64  # but at half the size it does not know it
            return torch.ones_like(features) if known else features.mean().expand_as(features)

    y = (torch.ones(1, 3, 64, 64) + noise_like(torch.ones(1, 3, 64, 64), 0.1)).clamp(0, 1)
    assert 0.95 < y.mean() < 0.97
    _, _, target, _ = NoiseTransplantLoss().prepare(BoundNet(Knows(), y), y)
    torch.testing.assert_close(target, torch.ones_like(target))


def test_the_mean_of_the_difference_does_not_count():
    y = torch.rand(2, 3, 32, 32)
    objective = NoiseTransplantLoss(flatness=float('inf'))
    prepared = objective.prepare(BoundNet(Half(), y), y)
    shift = torch.rand(2, 3, 1, 1)
    plain = objective.loss(lambda features, x: (0.5 * features, x), prepared, None)
    brighter = objective.loss(lambda features, x: (0.5 * features + shift, x), prepared, None)
    assert plain > 0.01
    torch.testing.assert_close(plain, brighter)


def test_it_is_an_objective_whose_inputs_have_a_batch():
    loss, y = NoiseTransplantLoss(), torch.rand(3, 3, 18, 9)
    assert isinstance(loss, Objective)
    assert all(len(tensor) == 3 for tensor in loss.prepare(BoundNet(MultiTaskNet(), y), y))


def test_a_head_that_leaves_noise_learns_to_remove_it():
    """Truth in place of the objective's own sight: the error against the clean image falls."""
    torch.manual_seed(0)
    net = tiny_net(num_feat=8, feat_step=4)
    with torch.no_grad():
        for weight in net.primary_head[-1].parameters():
            weight.zero_()  # it restores nothing to begin with
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    clean = F.interpolate(coarse, size=(96, 96), mode='nearest') * 0.5 + 0.25
    y = clean + noise_like(clean, 0.1)
    task = Task(net, NoiseTransplantLoss(share=0.3, flatness=float('inf')), y, None)
    errors = [(task.restored(task.weights) - clean).abs().mean().item()]
    for weights, _ in adapt(task, 40, 3e-3, 'adam'):
        errors.append((task.restored(weights) - clean).abs().mean().item())
    assert errors[-1] < 0.8 * errors[0]


@pytest.mark.parametrize('arguments, message', [
    ({'ratio': 1}, 'ratio must be an integer of at least 2, not 1'),
    ({'block_size': 0}, 'block_size must be an integer of at least 1, not 0'),
    ({'candidates': 0.5}, 'candidates must be an integer of at least 1, not 0.5'),
    ({'share': 0}, 'share must be greater than 0 and at most 1, not 0'), ({'share': 1.5}, 'not 1.5'),
    ({'flatness': 0}, 'flatness must be greater than 0, not 0'),
    ({'seed': 0.5}, 'seed must be an integer, not 0.5'),
    ({'criterion': 'l3'}, "criterion must be one of l1, l2, charbonnier, not 'l3'"),
])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NoiseTransplantLoss(**arguments)
