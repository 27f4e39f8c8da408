"""Stein's unbiased risk estimate, against the true error that it estimates."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maxl_sr.losses.flat_noise import WINDOW, transplant_noise
from maxl_sr.losses.loss_util import local_mean, windows
from maxl_sr.losses.neighbor2neighbor_loss import Neighbor2NeighborLoss
from maxl_sr.losses.sure_loss import SURELoss
from maxl_sr.meta import BoundNet, Objective, Task, adapt
from tests.helpers import tiny_net
from tests.losses.test_noise_transplant_loss import naive_clean_copy
from tests.losses.whole import Whole


class Average(nn.Module):
    """Restores by the mean over 7×7 pixels."""

    def forward_features(self, x):
        return x * 1

    def forward_primary(self, features, x):
        return local_mean(features, 7)


def photo(kind, sigma=0.08, size=256):
    """A clean image with flat parts and with texture, and the same with noise of a kind."""
    generator = torch.Generator().manual_seed(0)
    clean = F.interpolate(torch.rand(1, 3, 4, 4, generator=generator), size=(size, size), mode='nearest') * 0.4 + 0.3
    clean[..., size // 2:] += 0.08 * torch.rand(1, 3, size, size // 2, generator=generator)
    noise = torch.randn(1, 3, size, size, generator=generator)
    if kind == 'correlated':
        noise = F.conv2d(F.pad(noise, (1, 1, 1, 1), mode='circular').flatten(0, 1).unsqueeze(1),
                         torch.tensor([[1., 2, 1], [2, 4, 2], [1, 2, 1]]).view(1, 1, 3, 3)).view(1, 3, size, size)
        noise /= noise.std()
    elif kind == 'of intensity':
        noise = noise * clean / clean.square().mean().sqrt()
    return clean, clean + sigma * noise


def naive(loss: SURELoss, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The objective, written out, of an image that has flat parts."""
    _, smooth = naive_clean_copy(loss, net, y)
    noise = loss.noise
    noisy, flatness = transplant_noise(y, smooth, smooth, noise.block_size, noise.share, noise.candidates, noise.seed)
    assert (flatness < noise.flatness).all() and not loss.window
    probe = noisy - smooth - (noisy - smooth).mean((2, 3), keepdim=True)
    compared = y + local_mean(net.first(y).clamp(0, 1) - y, WINDOW)
    product = probe - local_mean(probe, WINDOW)
    slope = (net.restored(y + loss.epsilon * probe) - net.restored(y)) / loss.epsilon
    risk = ((net.restored(y) - compared) ** 2 + 2 * product * slope) / (product ** 2).mean((1, 2, 3), keepdim=True)
    return loss.loss_weight * (risk * mask).mean()


def window(size):
    return lambda features, x: (local_mean(features, size), x)


@pytest.mark.parametrize('kind, tolerance', [('white', 0.02), ('of intensity', 0.03),
                                             ('correlated', 0.15)])  # its lowest frequencies stay in the smooth image
def test_differences_are_those_of_the_true_errors(kind, tolerance):
    clean, y = photo(kind)
    variance = (y - clean).square().mean()
    objective = SURELoss()
    prepared = objective.prepare(BoundNet(Average(), y), y)
    estimates, truth = [], []
    for size in (1, 3, 5, 7):
        estimates.append(objective.loss(window(size), prepared, None))
        truth.append((local_mean(y, size) - clean).square().mean() / variance)
    assert max(truth) - min(truth) > 0.4
    for estimate, true in zip(estimates[1:], truth[1:]):
        assert (estimate - estimates[0]).item() == pytest.approx((true - truth[0]).item(), abs=tolerance)


def test_neighbours_cannot_judge_correlated_noise():
    clean, y = photo('correlated')
    error = {size: (local_mean(y, size) - clean).square().mean() for size in (1, 5)}
    assert error[5] < 0.7 * error[1]
    sure, other = SURELoss(), Neighbor2NeighborLoss(criterion='l2', consistency=0)
    net = BoundNet(Average(), y)
    assert sure.loss(window(5), sure.prepare(net, y), None) < 0.8 * sure.loss(window(1), sure.prepare(net, y), None)
    assert other.loss(window(5), other.prepare(net, y), None) > other.loss(window(1), other.prepare(net, y), None)


def test_the_value_is_the_error_and_the_noise_in_units_of_the_noise():
    clean, y = photo('white')
    objective = SURELoss(loss_weight=2.0)
    value = objective.loss(window(5), objective.prepare(BoundNet(Average(), y), y), None)
    error, noise = (local_mean(y, 5) - clean).square().mean(), (y - clean).square().mean()
    assert value.item() == pytest.approx(2 * (1 + error / noise).item(), rel=0.05)


def test_the_mask_weights_the_pixels_and_an_image_without_flat_parts_is_left_alone():
    _, y = photo('white', size=64)
    y = torch.cat([y, F.interpolate(torch.rand(1, 3, 4, 4), size=(64, 64), mode='bilinear')])
    objective = SURELoss()
    prepared = objective.prepare(BoundNet(Average(), y), y)
    assert all(len(tensor) == 2 for tensor in prepared)
    assert objective.loss(window(3), [tensor[1:] for tensor in prepared], None) == 0
    half = torch.zeros(2, 1, 64, 64)
    half[..., :32] = 1
    parts = [objective.loss(window(3), prepared, mask) for mask in (half, 1 - half, None)]
    torch.testing.assert_close(parts[0] + parts[1], parts[2])
    assert isinstance(objective, Objective)


def test_windows_are_every_second_down_and_across():
    image = torch.arange(9 * 13.).view(1, 1, 9, 13)
    rows, columns = torch.tensor([0, 1, 4, 5]), torch.tensor([0, 1, 4, 5, 8, 9])
    assert torch.equal(windows(image, 2), image[..., rows, :][..., columns])
    assert windows(image, 0) is image and windows(image, 5) is image


def test_a_quarter_of_the_image_estimates_the_same():
    _, y = photo('white')
    mask = torch.rand(1, 1, 256, 256)
    for kind in (None, mask):
        whole, part = (objective.loss(window(3), objective.prepare(BoundNet(Average(), y), y), kind)
                       for objective in (SURELoss(), SURELoss(window=64)))
        assert whole.item() == pytest.approx(part.item(), rel=0.05)


def test_adapting_to_it_lowers_the_true_error():
    torch.manual_seed(0)
    net = tiny_net(num_feat=8, feat_step=4)
    with torch.no_grad():
        net.primary_head[-1].weight.zero_()  # it restores nothing to begin with
    clean, y = photo('correlated', size=96)
    task = Task(net, SURELoss(flatness=float('inf')), y, None)
    errors = [(task.restored(task.weights) - clean).square().mean().item()]
    for weights, _ in adapt(task, 40, 3e-3, 'adam'):
        errors.append((task.restored(weights) - clean).square().mean().item())
    assert errors[-1] < 0.8 * errors[0]


@pytest.mark.parametrize('arguments, message', [
    ({'epsilon': 0}, 'epsilon must be greater than 0, not 0'), ({'flatness': 0}, 'flatness must be greater than 0'),
    ({'window': -1}, 'window must be a non-negative integer, not -1'),
    ({'seed': 0.5}, 'seed must be an integer, not 0.5')])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SURELoss(**arguments)
