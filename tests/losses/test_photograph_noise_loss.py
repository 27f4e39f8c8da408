"""The noise of the image on clean photographs."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maxl_sr.losses.photograph_noise_loss import PhotographNoiseLoss
from maxl_sr.meta import BoundNet, Objective, Task, adapt
from tests.helpers import tiny_net
from tests.losses.blocks import corners, naive_detail, naive_flat
from tests.losses.whole import Whole


def small(**arguments) -> PhotographNoiseLoss:
    """The objective with small parts of the photographs, for small images."""
    loss = PhotographNoiseLoss(**{'block_size': 3, 'least': 3, 'candidates': 2, 'least_left': 0, 'most_spread': 99,
                                  **arguments})
    loss.photographs = loss.photographs[..., :8, :10].clone()
    return loss


def naive(loss: PhotographNoiseLoss, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The objective, written out, of colour images of whose noise something is left; the mask does not count."""
    size, total = loss.block_size, 0
    clean = loss.photographs[0].to(y.dtype) / 255
    height, width = clean.shape[-2:]
    for image, restored in zip(y, net.trained(y)):
        flat, share = naive_flat(image, restored, size, loss.least)
        assert share > loss.least_left
        blocks = [image[:, i:i + size, j:j + size] for (i, j), yes in zip(corners(image.shape, size), flat) if yes]
        padded = F.pad(clean[None], (0, -width % size, 0, -height % size), mode='replicate')[0]
        places = corners(padded.shape, size)
        choices = min(loss.candidates, loss.least)
        drawn = torch.randint(choices, (len(places), 1), generator=torch.Generator().manual_seed(loss.seed))
        noisy = padded.clone()
        for (i, j), number in zip(places, drawn.flatten().tolist()):
            part = padded[:, i:i + size, j:j + size]
            nearest = sorted(blocks, key=lambda block: (block.mean((1, 2)) - part.mean((1, 2))).norm().item())[number]
            noisy[:, i:i + size, j:j + size] += naive_detail(nearest)
        noisy = noisy[None, :, :height, :width].clamp(0, 1)
        error = net.restored(noisy) - clean
        total = total + (error - error.mean((2, 3), keepdim=True)).abs().mean()
    return loss.loss_weight * total / len(y)


def noisy_ramp(sigma=0.1, size=96):
    generator = torch.Generator().manual_seed(0)
    clean = torch.linspace(0.3, 0.7, size).expand(1, 3, size, size)
    return clean, clean + sigma * torch.randn(clean.shape, generator=generator)


def test_the_loss_by_hand():
    net, y = tiny_net(seed=0).double(), torch.rand(2, 3, 13, 17, dtype=torch.float64)
    with torch.no_grad():
        whole = Whole(lambda x: (net(x), x), net, net)
        for loss in (small(loss_weight=3.0), small(block_size=4, least=2, seed=3)):
            task = Task(net, loss, y, torch.rand(2, 1, 13, 17, dtype=torch.float64))
            torch.testing.assert_close(task.objective({}), naive(loss, whole, y, None), rtol=1e-10, atol=0)


def test_the_noise_is_that_of_the_image():
    _, y = noisy_ramp()
    loss = PhotographNoiseLoss()
    _, copy, target, active = loss.prepare(BoundNet(tiny_net(seed=0), y), y)
    assert active.item() == 1
    middle = (target > 0.4) & (target < 0.6)  # not clipped
    noise = (copy - target)[middle]
    assert noise.std().item() == pytest.approx(0.1, rel=0.1) and abs(noise.mean().item()) < 0.01


def test_noise_that_the_network_knows_is_left_alone():
    clean, y = noisy_ramp()

    class Knows(torch.nn.Module):
        """Restores y to what is clean."""

        def __init__(self):
            super().__init__()
            self.primary_head = torch.nn.Conv2d(1, 1, 1)

        def forward_features(self, x):
            return x

        def forward_primary(self, features, x):
            return clean + 0 * self.primary_head.weight if x is y else x * self.primary_head.weight

        def forward_heads(self, features, x):
            return self.forward_primary(features, x), x

    assert Task(Knows(), PhotographNoiseLoss(), y, None).objective({}).item() == 0
    assert Task(tiny_net(seed=0), PhotographNoiseLoss(), y, None).objective({}).item() > 0


def test_grey_images_get_grey_photographs():
    y = torch.rand(2, 3, 48, 48)
    y[0] = y[0].mean(0)
    _, copy, target, _ = PhotographNoiseLoss().prepare(BoundNet(tiny_net(seed=0), y), y)
    assert (target[0] - target[0].mean(0)).abs().max() < 1e-6 < (target[1] - target[1].mean(0)).abs().max()
    assert (copy[0] - copy[0].mean(0)).abs().max() < 1e-5


def test_noise_follows_brightness():
    clean, y = noisy_ramp(0.05)
    y = clean + (y - clean) * torch.where(clean > 0.5, 2, 1)  # twice as strong where it is bright
    loss = PhotographNoiseLoss(least_left=0, least=32, most_spread=9)
    _, copy, target, _ = loss.prepare(BoundNet(tiny_net(seed=0), y), y)
    added, grey = (copy - target).square().mean(1), target.mean(1)
    inside = ((copy > 0.02) & (copy < 0.98)).all(1)
    dark, bright = (added[inside & where].mean().sqrt() for where in (grey < 0.4, grey > 0.6))
    assert bright > 1.3 * dark


@pytest.mark.parametrize('height, width', [(1, 1), (5, 40), (16, 16), (33, 47)])
def test_any_size(height, width):
    loss = PhotographNoiseLoss(least_left=0, most_spread=99)
    task = Task(tiny_net(seed=0), loss, torch.rand(2, 3, height, width), None)
    assert torch.isfinite(task.objective(task.weights))


def test_it_is_an_objective_whose_inputs_have_a_batch():
    loss, y = PhotographNoiseLoss(), torch.rand(3, 3, 18, 9)
    assert isinstance(loss, Objective)
    assert all(len(tensor) == 3 for tensor in loss.prepare(BoundNet(tiny_net(seed=0), y), y))
    assert loss.photographs.shape[-2:] == (128, 128)
    assert PhotographNoiseLoss(side=40).photographs.shape == (1, 3, 40, 40)
    assert not loss.state_dict()  # the photographs come with the package


@pytest.mark.slow
def test_a_head_that_leaves_noise_learns_to_remove_it():
    torch.manual_seed(0)
    net = tiny_net(num_feat=8, feat_step=4)
    with torch.no_grad():
        for weight in net.primary_head[-1].parameters():
            weight.zero_()  # it restores nothing to begin with
    clean, y = noisy_ramp()
    task = Task(net, PhotographNoiseLoss(), y, None)
    errors = [(task.restored(task.weights) - clean).abs().mean().item()]
    for weights, _ in adapt(task, 40, 3e-3, 'adam'):
        errors.append((task.restored(weights) - clean).abs().mean().item())
    assert errors[-1] < 0.8 * errors[0]


@pytest.mark.parametrize('arguments, message', [
    ({'block_size': 2}, 'block_size must be an integer of at least 3, not 2'),
    ({'least': 1}, 'least must be an integer of at least 2, not 1'),
    ({'candidates': 0}, 'candidates must be an integer of at least 1, not 0'),
    ({'least_left': 1.5}, 'least_left must be from 0 to 1, not 1.5'), ({'seed': 0.5}, 'seed must be an integer'),
    ({'most_spread': -1}, 'most_spread must be at least 0, not -1'),
    ({'side': 0}, 'side must be an integer from 1 to 256, not 0'), ({'side': 257}, 'side must be an integer'),
    ({'criterion': 'l3'}, "criterion must be one of l1, l2, charbonnier, not 'l3'"),
])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PhotographNoiseLoss(**arguments)
