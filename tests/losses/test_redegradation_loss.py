"""The redegradation objective and the blur kernels that it estimates."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maxl_sr.losses.blur_kernel import MAX_PIXELS, blur, estimate_kernel, widen_kernel
from maxl_sr.losses.redegradation_loss import RedegradationLoss
from maxl_sr.meta import BoundNet, Objective, Task
from tests.helpers import tiny_net
from tests.losses.whole import Whole


def naive(loss: RedegradationLoss, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The objective, written out, of a blur that the network does not know."""
    def half(image, multiple=1):
        sides = [max(side // loss.ratio // multiple, 1) * multiple for side in image.shape[-2:]]
        return F.interpolate(image, sides, mode='bicubic', antialias=True).clamp(0, 1)

    restored = net.first(y).clamp(0, 1)
    scale = restored.shape[-1] // y.shape[-1]
    if loss.estimate == 'image':
        target = half(restored, scale)
        kernel = estimate_kernel(restored, y, loss.kernel_size, loss.ridge)
    else:
        target = net.first(half(y)).clamp(0, 1)
        kernel = widen_kernel(estimate_kernel(target, half(y), loss.kernel_size, loss.ridge), loss.ratio)
        assert loss.tolerance > 9  # so that no blur is known
    copy = blur(target, kernel, scale).clamp(0, 1)
    weight = F.interpolate(mask, target.shape[-2:], mode='bilinear')
    return loss.loss_weight * ((net.restored(copy) - target).abs() * weight).mean()


def gaussian(size, rows, columns, shift=0.0):
    at = torch.arange(size, dtype=torch.float64) - size // 2
    kernel = torch.exp(-(at[:, None] - shift) ** 2 / (2 * rows ** 2)) * torch.exp(-at ** 2 / (2 * columns ** 2))
    return kernel / kernel.sum()


def moments(kernel):
    """Mean and variance in the direction of the rows."""
    weight = kernel.sum(1)
    at = torch.arange(len(weight), dtype=kernel.dtype) - len(weight) // 2
    mean = (weight * at).sum()
    return mean.item(), ((at - mean) ** 2 * weight).sum().item()


@pytest.mark.parametrize('scale', [1, 2, 3])
def test_blur_is_the_sum_of_its_definition(scale):
    torch.manual_seed(0)
    x, kernel = torch.rand(2, 3, 6 * scale, 5 * scale), torch.rand(2, 5, 5)
    got = blur(x, kernel, scale)
    assert got.shape == (2, 3, 6, 5)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode='edge')
    for b, c, i, j in [(0, 0, 0, 0), (1, 2, 3, 4), (0, 1, 5, 2)]:
        window = padded[b, c, i * scale:i * scale + 5, j * scale:j * scale + 5]
        assert got[b, c, i, j].item() == pytest.approx((window * kernel[b].numpy()).sum(), rel=1e-5)


@pytest.mark.parametrize('scale', [1, 2, 4])
def test_the_kernel_of_every_image_is_found_again(scale):
    torch.manual_seed(0)
    x = torch.rand(2, 3, 60 * scale, 50 * scale, dtype=torch.float64)
    kernels = torch.stack([gaussian(9, 0.7, 1.5, shift=0.4), gaussian(9, 2.0, 0.5)])
    found = estimate_kernel(x, blur(x, kernels, scale), 9, ridge=1e-9)
    torch.testing.assert_close(found, kernels, atol=1e-6, rtol=0)


def test_of_a_large_image_a_part_is_looked_at():
    torch.manual_seed(0)
    x = torch.rand(1, 1, 300, 500, dtype=torch.float64)
    assert x.numel() > 4 * MAX_PIXELS
    kernel = gaussian(5, 0.7, 1.0)[None]
    torch.testing.assert_close(estimate_kernel(x, blur(x, kernel), 5, ridge=1e-9), kernel, atol=1e-6, rtol=0)


@pytest.mark.parametrize('value', [0.0, 0.5])
def test_a_flat_image_gives_a_finite_kernel(value):
    x = torch.full((1, 3, 16, 16), value)
    kernel = estimate_kernel(x, x, 5, ridge=1e-3)
    assert kernel.sum().item() == pytest.approx(1) and kernel.isfinite().all()
    if not value:
        assert kernel[0, 2, 2].item() == pytest.approx(1)


@pytest.mark.parametrize('ratio', [2, 3])
def test_a_widened_kernel_has_the_wider_spread_and_the_same_centre(ratio):
    kernel = torch.stack([gaussian(13, 1.2, 0.9, shift=1.0), gaussian(13, 1.5, 1.5)])
    wide = widen_kernel(kernel, ratio)
    assert wide.shape == (2, 12 * ratio + 1, 12 * ratio + 1)
    for before, after in zip(kernel, wide):
        mean, variance = moments(before)
        assert moments(after)[0] == pytest.approx(mean, abs=0.02)
        # Bilinear interpolation adds the variance of a triangle, (ratio² − 1) / 6
        assert moments(after)[1] == pytest.approx(ratio ** 2 * variance + (ratio ** 2 - 1) / 6, rel=0.02)
        assert after.sum().item() == pytest.approx(1)


class Nothing(nn.Module):
    """A network that restores nothing."""

    def __init__(self):
        super().__init__()
        self.primary_head = nn.Conv2d(1, 1, 1)

    def forward_features(self, x):
        return x

    def forward_primary(self, features, x):
        return features

    def forward_heads(self, features, x):
        return features, features


def test_the_loss_by_hand():
    torch.manual_seed(0)
    y, mask = torch.rand(2, 3, 24, 32), torch.rand(2, 1, 12, 16)
    task = Task(Nothing(), RedegradationLoss(loss_weight=3.0, kernel_size=5, ridge=1e-9, downsample='direct'), y, mask)
    small = y[..., ::2, ::2]
    hat = torch.tensor([0.25, 0.5, 0.25])  # a network that does nothing has the kernel 1, which widens to this
    kernel = (hat[:, None] * hat).expand(3, 1, 3, 3)
    error = (F.conv2d(F.pad(small, (1, 1, 1, 1), mode='replicate'), kernel, groups=3) - small).abs()
    assert task.objective({}).item() == pytest.approx(3 * (error * mask).mean().item(), rel=1e-3)


@pytest.mark.parametrize('tolerance, unknown', [(0.04, 0), (9, 1)])
def test_a_blur_that_the_network_knows_is_left_alone(tolerance, unknown):
    torch.manual_seed(0)
    sharp, kernel = torch.rand(1, 3, 32, 32), gaussian(9, 1.0, 1.5).float()[None]
    y = blur(sharp, kernel)

    class Knows(Nothing):
        """Restores y, and what was degraded as y, exactly; the other two images not at all."""

        calls = 0

        def forward_features(self, x):
            self.calls += 1  # y, its small copy, t degraded by the estimate, t degraded as y
            return {1: sharp, 4: y[..., ::2, ::2]}.get(self.calls, x)

    objective = RedegradationLoss(kernel_size=9, downsample='direct', tolerance=tolerance)
    prepared = objective.prepare(BoundNet(net := Knows(), torch.zeros(0)), y)
    assert net.calls == 5  # and the features of the pair
    assert prepared[3].item() == unknown
    loss = objective.loss(net.forward_heads, prepared, None).item()
    assert loss > 0 if unknown else loss == 0


def test_the_loss_from_the_image_by_hand():
    torch.manual_seed(0)
    sharp, kernel = torch.rand(1, 3, 32, 40), gaussian(5, 0.8, 1.2).float()[None]
    y, mask = blur(sharp, kernel), torch.rand(1, 1, 32, 40)

    class Knows(Nothing):
        """Restores y exactly, and nothing else."""

        def forward_primary(self, features, x):
            return sharp if x is y else x

        def forward_heads(self, features, x):
            return self.forward_primary(features, x), x

    task = Task(Knows(), RedegradationLoss(estimate='image', kernel_size=5, ridge=1e-9), y, mask)
    target = F.interpolate(sharp, size=(16, 20), mode='bicubic', antialias=True).clamp(0, 1)
    weight = F.interpolate(mask, size=(16, 20), mode='bilinear')
    expected = ((blur(target, kernel) - target).abs() * weight).mean().item()
    assert task.objective({}).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize('value', [0.0, 0.4, 1.0])
def test_a_flat_image_is_left_alone(value):
    torch.manual_seed(0)
    y = torch.full((1, 3, 24, 24), value)
    assert RedegradationLoss(kernel_size=5).prepare(BoundNet(Nothing(), y), y)[3].item() == 0


@pytest.mark.parametrize('estimate', ['copy', 'image'])
def test_images_that_no_kernel_explains_do_not_spoil_the_batch(estimate):
    torch.manual_seed(0)
    y = torch.rand(2, 3, 24, 24)

    class Inverts(Nothing):
        """Restores the first image to its negative."""

        def forward_primary(self, features, x):
            return torch.stack([1 - x[0], x[1]])

        def forward_heads(self, features, x):
            return self.forward_primary(features, x), x

    objective = RedegradationLoss(kernel_size=5, estimate=estimate)
    prepared = objective.prepare(BoundNet(net := Inverts(), y), y)
    assert all(tensor.isfinite().all() for tensor in prepared)
    assert objective.loss(net.forward_heads, prepared, None).isfinite()


def test_a_kernel_whose_centre_lies_outside_is_widened_to_a_finite_one():
    kernel = torch.zeros(2, 13, 13)
    kernel[:, 6, 6] = 40
    kernel[0, 6, 0] = -39
    kernel[1] /= 40
    wide = widen_kernel(kernel, 2)
    assert wide.isfinite().all() and torch.allclose(wide.sum((1, 2)), torch.ones(2))


@pytest.mark.parametrize('estimate', ['copy', 'image'])
@pytest.mark.parametrize('scale, size', [(1, (24, 31)), (2, (24, 31)), (3, (13, 8)), (4, (5, 1)), (1, (1, 1))])
def test_any_size_and_scale(scale, size, estimate):
    torch.manual_seed(0)
    net = tiny_net(scale=scale)
    objective = RedegradationLoss(kernel_size=5, estimate=estimate)
    assert isinstance(objective, Objective)
    y = torch.rand(3, 3, *size)
    prepared = objective.prepare(BoundNet(net, y), y)
    assert all(len(tensor) == 3 for tensor in prepared) and prepared[3].shape == (3, 1, 1, 1)
    assert Task(net, objective, y, torch.rand(3, 1, *size)).objective({}).isfinite()


@pytest.mark.parametrize('arguments, message', [
    ({'ratio': 1}, 'ratio must be an integer of at least 2, not 1'),
    ({'kernel_size': 4}, 'kernel_size must be an odd integer of at least 3, not 4'),
    ({'downsample': 'box'}, "downsample must be one of bicubic, direct, not 'box'"),
    ({'estimate': 'both'}, "estimate must be one of copy, image, not 'both'"),
    ({'ridge': 0}, 'ridge must be greater than 0, not 0'),
    ({'tolerance': -1}, 'tolerance must be at least 0, not -1'),
    ({'criterion': 'l3'}, "criterion must be one of l1, l2, charbonnier, not 'l3'"),
])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RedegradationLoss(**arguments)
