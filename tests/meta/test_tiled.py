"""Tile by tile: the same restored image and the same adapted weights as in one piece."""

import pytest
import torch

from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet
from maxl_sr.losses.blind_spot_loss import BlindSpotLoss
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.losses.noise_transplant_loss import NoiseTransplantLoss
from maxl_sr.losses.sure_loss import SURELoss
from maxl_sr.meta import BoundNet, Task, Tiling, adapt
from tests.helpers import slow, tiny_net


def make(arch=MultiTaskNet, scale=1):
    torch.manual_seed(0)
    return tiny_net(arch, scale=scale).double().requires_grad_(False)


def tiling(net, size):
    return Tiling(size, net.halo, net.multiple)


def test_tiles_cover_the_image_once_and_begin_on_the_grid():
    seen = torch.zeros(100, 260)
    for tile in Tiling(96, 16).tiles((100, 260)):
        seen[tile.own] += 1
        assert all(part.start % 16 == 0 for part in tile.read)
        part = torch.arange(100 * 260).view(100, 260)[tile.read]
        assert torch.equal(part[tile.inner()], torch.arange(100 * 260).view(100, 260)[tile.own])
    assert torch.equal(seen, torch.ones(100, 260))


@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
@pytest.mark.parametrize('scale', [1, 2])
def test_outputs_are_those_of_the_whole(arch, scale):
    net, x = make(arch, scale), torch.rand(2, 3, 100, 136, dtype=torch.float64)
    bound = BoundNet(net, x, tiling=tiling(net, 48))
    features = bound.forward_features(x)
    assert features is x
    for ours, whole in zip(bound.forward_heads(features, x), net.forward_heads(net.forward_features(x), x)):
        torch.testing.assert_close(ours, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(BoundNet(net, x, tiling=tiling(net, 48)).restored(), net(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize('arguments', [{}, {'num_level': 2, 'num_block': 1}, {'num_level': 4, 'num_block': 1},
                                       {'num_level': 1, 'num_primary_block': 3}, {'scale': 3, 'num_aux_block': 2}])
@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
def test_the_halo_covers_the_receptive_field_and_hardly_more(arch, arguments):
    torch.manual_seed(0)
    net = arch(num_feat=4, feat_step=0, **arguments).double()
    side = 4 * net.halo // net.multiple * net.multiple
    x = torch.rand(1, 3, 8, side, dtype=torch.float64, requires_grad=True)
    for output in net.forward_heads(net.forward_features(x), x):
        middle = output.shape[-1] // 2
        outputs = output[..., middle:middle + output.shape[-1] // side * net.multiple]  # the own pixels of a small tile
        seen = torch.autograd.grad(outputs.sum(), x, retain_graph=True)[0].abs().sum((0, 1, 2)).nonzero()
        reach = max(side // 2 - seen.min().item(), seen.max().item() - (side // 2 + net.multiple - 1))
        assert reach <= net.halo
    if arch is MultiTaskNet:  # its last output depends on all of it
        assert reach > 0.7 * net.halo


@pytest.mark.parametrize('objective', [MaskedReconstructionLoss(), *slow(
    BlindSpotLoss(), NoiseTransplantLoss(flatness=float('inf')), SURELoss(flatness=float('inf')))])
@pytest.mark.parametrize('params', ['heads', *slow('all')])
@pytest.mark.parametrize('optimizer', ['adam', *slow('sgd')])
def test_adapted_weights_are_those_of_the_whole(objective, params, optimizer):
    net, y = make(), torch.rand(1, 3, 140, 100, dtype=torch.float64)
    mask = torch.rand(1, 1, 140, 100, dtype=torch.float64)
    whole, parts = (Task(net, objective, y, mask, params, tiling=parts) for parts in (None, tiling(net, 32)))
    for (expected, loss), (weights, same) in zip(*(adapt(task, 3, 1e-3, optimizer) for task in (whole, parts))):
        assert same.item() == pytest.approx(loss.item(), rel=1e-10)
        for name, weight in weights.items():
            torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-10)
    torch.testing.assert_close(parts.restored(weights), whole.restored(expected), rtol=0, atol=1e-9)


def test_images_that_cannot_be_split_alike_are_not_split():
    net, x = make(), torch.rand(1, 3, 101, 64, dtype=torch.float64)
    bound = BoundNet(net, x, tiling=tiling(net, 32))
    assert bound.forward_features(x) is not x and torch.equal(bound.restored(), net(x))


@pytest.mark.slow
def test_memory_is_that_of_a_tile():
    """No layer sees more pixels of a large image than of a small one."""
    net, most, sizes = make().float(), [], []
    for module in net.modules():
        module.register_forward_hook(lambda module, images, output: sizes.append(images[0].numel()))
    for height in (512, 1024):
        task = Task(net, MaskedReconstructionLoss(), torch.rand(1, 3, height, 256), None, tiling=tiling(net, 128))
        task.restored(list(adapt(task, 1, 1e-3))[-1][0])
        most.append(max(sizes))
        sizes.clear()
    assert most[0] == most[1]
