"""MultiTaskNet, ParallelMultiTaskNet, MaskNet and BasicSR's RIDNet."""

import copy

import pytest
import torch
import torch.nn.functional as F
from basicsr.archs import build_network
from basicsr.utils.matlab_functions import imresize
from torch import nn

from maxl_sr.archs.arch_util import ImageConv
from maxl_sr.archs.mask_arch import FeatureMaskNet, MaskNet, mask_of
from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet

SMALL = {'num_feat': 4, 'feat_step': 2, 'num_block': 1}


def count(net):
    return sum(w.numel() for w in net.parameters())


def test_parameter_counts_of_the_paper():
    net, mask_net = MultiTaskNet(), MaskNet()
    assert [count(part) for part in (net.body, net.primary_head, net.aux_head)] == [544_608, 37_728, 21_024]
    assert count(net) == 603_360
    assert count(mask_net) == 56_449
    assert count(FeatureMaskNet()) == 66_529
    assert count(net) + count(mask_net) == 659_809
    assert count(net.primary_head) + count(net.aux_head) + count(mask_net) == 115_201


def test_the_parallel_network_has_two_heads_of_one_kind():
    net = ParallelMultiTaskNet()
    assert count(net.aux_head) == count(net.primary_head) == 37_728
    assert count(net) == 620_064
    assert [type(part) for part in net.aux_head] == [type(part) for part in net.primary_head]
    assert count(ParallelMultiTaskNet(num_aux_block=1).aux_head) == 37_728 - 18_432


def test_ridnet_has_a_million_and_a_half():
    net = build_network({'type': 'RIDNet', 'in_channels': 3, 'mid_channels': 64, 'out_channels': 3, 'img_range': 1.0})
    assert round(count(net) / 1e6, 2) == 1.50


@pytest.mark.parametrize('kind', ['MultiTaskNet', 'ParallelMultiTaskNet', 'MaskNet', 'MIRNet'])
def test_registered_with_basicsr(kind):
    assert type(build_network({'type': kind})).__name__ == kind


@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
@pytest.mark.parametrize('size', [(1, 1), (1, 7), (2, 3), (5, 4), (17, 31), (64, 48)])
def test_any_size(arch, size):
    net, x = arch(**SMALL), torch.rand(2, 3, *size)
    features = net.forward_features(x)
    assert features.shape == (2, 4, *size)
    restored, reconstruction = net.forward_heads(features, x)
    assert restored.shape == reconstruction.shape == x.shape
    torch.testing.assert_close(net(x), restored)
    torch.testing.assert_close(net.forward_primary(features, x), restored)
    mask = MaskNet(num_feat=4)(x)
    assert mask.shape == (2, 1, *size) and 0 < mask.min() and mask.max() < 1


def test_the_paper_auxiliary_head_reads_restored_image_and_residual():
    net, x = MultiTaskNet(**SMALL), torch.rand(1, 3, 8, 8)
    restored, reconstruction = net.forward_heads(net.forward_features(x), x)
    torch.testing.assert_close(net.aux_head(torch.cat([restored, restored - x], 1)), reconstruction)


def test_the_parallel_auxiliary_head_reads_the_features():
    net, x = ParallelMultiTaskNet(**SMALL), torch.rand(1, 3, 8, 8)
    features = net.forward_features(x)
    torch.testing.assert_close(net.aux_head(features), net.forward_heads(features, x)[1])


@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('size', [(1, 1), (5, 4), (17, 31)])
def test_super_resolution_of_any_size(arch, scale, size):
    net, x = arch(**SMALL, scale=scale), torch.rand(2, 3, *size)
    restored, reconstruction = net.forward_heads(net.forward_features(x), x)
    assert restored.shape == (2, 3, size[0] * scale, size[1] * scale) and reconstruction.shape == x.shape
    torch.testing.assert_close(net(x), restored)


def test_the_residual_is_added_to_matlabs_bicubic_enlargement():
    net = MultiTaskNet(**SMALL, scale=3)
    torch.nn.init.zeros_(net.primary_head[-2].weight)
    x = torch.rand(1, 3, 12, 10)
    ours, matlab = net(x)[0], imresize(x[0], 3)
    torch.testing.assert_close(ours[:, 9:-9, 9:-9], matlab[:, 9:-9, 9:-9], rtol=0, atol=1e-5)  # borders are padded
    flat = net(torch.full((1, 3, 5, 5), 0.3))
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))


def test_the_mask_network_shares_one_slope():
    names = [name for name, w in MaskNet().named_parameters() if w.ndim == 1]
    assert names == ['activation.weight']


def test_no_convolution_has_a_bias():
    assert not [n for net in (MultiTaskNet(), ParallelMultiTaskNet(), MaskNet()) for n, _ in net.named_parameters()
                if n.endswith('bias')]


@pytest.mark.parametrize('arguments', [
    {}, {'num_feat': 8}, {'feat_step': 0}, {'num_block': 3}, {'num_level': 1}, {'num_level': 4},
    {'num_primary_block': 1, 'num_aux_block': 3}, {'num_in_ch': 1, 'num_out_ch': 1}, {'scale': 2}, {'scale': 3},
])
@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
def test_state_dict_round_trip(arch, arguments):
    net, other = arch(**{**SMALL, **arguments}), arch(**{**SMALL, **arguments})
    other.load_state_dict(net.state_dict(), strict=True)
    x = torch.rand(1, arguments.get('num_in_ch', 3), 9, 7)
    assert torch.equal(net(x), other(x))


@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet, MaskNet])
def test_unknown_argument_is_an_error(arch):
    with pytest.raises(TypeError, match='num_feats'):
        arch(num_feats=8)


@pytest.mark.parametrize('arch, arguments, message', [
    (MultiTaskNet, {'num_feat': 0}, 'num_feat must be a positive integer, not 0'),
    (MultiTaskNet, {'num_level': 1.5}, 'num_level must be a positive integer'),
    (MultiTaskNet, {'feat_step': -1}, 'feat_step must be a non-negative integer'),
    (MultiTaskNet, {'num_out_ch': 1}, r'num_in_ch \(3\) and num_out_ch \(1\) must be equal'),
    (MultiTaskNet, {'scale': 5}, 'scale must be one of 1, 2, 3, 4, not 5'),
    (ParallelMultiTaskNet, {'scale': 2.0}, 'scale must be one of 1, 2, 3, 4, not 2.0'),
    (MaskNet, {'num_block': 0}, 'num_block must be a positive integer'),
    (FeatureMaskNet, {'num_net_feat': 0}, 'num_net_feat must be a positive integer'),
])
def test_bad_values_are_refused(arch, arguments, message):
    with pytest.raises(ValueError, match=message):
        arch(**arguments)


@pytest.mark.parametrize('scale', [1, 2])
def test_the_feature_mask_reads_features_and_residual_as_constants(scale):
    net, y = MultiTaskNet(**SMALL, scale=scale), torch.rand(2, 3, 9, 7)
    mask_net = FeatureMaskNet(num_feat=4, num_block=1, num_net_feat=SMALL['num_feat'], scale=scale)
    mask = mask_of(mask_net, net, y)
    assert mask.shape == (2, 1, 9, 7) and 0 < mask.min() and mask.max() < 1
    mask.sum().backward()
    assert all(weight.grad is None for weight in net.parameters())
    assert all(weight.grad.abs().sum() > 0 for weight in mask_net.parameters())
    features = net.forward_features(y)
    residual = F.pixel_unshuffle(net.primary_head(features), scale)
    feat = F.conv2d(torch.cat([y, features, residual], 1), mask_net.conv_first.weight, padding=1)
    feat = mask_net.blocks[0](feat, mask_net.activation)
    by_hand = torch.sigmoid(F.conv2d(feat, mask_net.conv_last.weight, padding=1))
    torch.testing.assert_close(mask, by_hand)


@pytest.mark.parametrize('arguments, message', [({'num_net_feat': 5}, 'num_net_feat is 5, but .* has 4'),
                                                ({'num_net_feat': 4, 'scale': 2}, 'scale² is 12, but .* has 3')])
def test_a_feature_mask_of_another_network_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mask_of(FeatureMaskNet(**arguments), MultiTaskNet(**SMALL), torch.rand(1, 3, 8, 8))


def test_the_cascaded_head_can_reconstruct_the_input_whatever_the_primary_head_does():
    """y = x̂ − r: with these weights the paper's auxiliary loss and its gradient are 0 at any weights of the rest."""
    net, y = MultiTaskNet(**SMALL).double(), torch.rand(2, 3, 16, 12, dtype=torch.float64)
    first, block, last = net.aux_head
    with torch.no_grad():
        for weight in net.aux_head.parameters():
            weight.zero_()
        for channel in range(3):
            first.weight[channel, channel, 1, 1] = 1  # x̂
            first.weight[channel, 3 + channel, 1, 1] = -1  # r
            last.weight[channel, channel, 1, 1] = 1
    _, reconstruction = net.forward_heads(net.forward_features(y), y)
    torch.testing.assert_close(reconstruction, y, rtol=0, atol=1e-12)
    loss = (reconstruction - y).square().mean()
    for gradient in torch.autograd.grad(loss, list(net.primary_head.parameters())):
        assert gradient.abs().max() < 1e-12


def test_the_parallel_head_tells_the_primary_head_nothing():
    net, y = ParallelMultiTaskNet(**SMALL), torch.rand(1, 3, 16, 12)
    _, reconstruction = net.forward_heads(net.forward_features(y), y)
    loss = (reconstruction - y).abs().mean()
    primary = list(net.primary_head.parameters())
    assert torch.autograd.grad(loss, primary, allow_unused=True) == (None, ) * len(primary)


@pytest.mark.parametrize('weights, image', [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32),
                                            (torch.float64, torch.float64)])
@pytest.mark.parametrize('make', [MultiTaskNet, MaskNet])
def test_other_number_formats_compute_as_autocast_has_them(make, weights, image):
    net, y = make().to(weights), torch.rand(1, 3, 16, 16).to(image)
    plain = copy.deepcopy(net)
    for module in plain.modules():
        if isinstance(module, ImageConv):
            module.__class__ = nn.Conv2d
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(net(y), plain(y))


def test_shapes_alone_are_computed():
    assert MultiTaskNet().to('meta')(torch.rand(1, 3, 16, 16, device='meta')).shape == (1, 3, 16, 16)


@pytest.mark.parametrize('net, name', [(MultiTaskNet(), 'body.conv_first'), (MultiTaskNet(), 'aux_head.0'),
                                       (ParallelMultiTaskNet(), 'body.conv_first'), (MaskNet(), 'conv_first')])
def test_layers_that_read_an_image_do_not_round_it(net, name):
    read = []
    layer = net.get_submodule(name)
    layer.register_forward_hook(lambda layer, inputs, output: read.append((inputs[0], output)))
    y = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        net(y) if isinstance(net, MaskNet) else net.forward_heads(net.forward_features(y), y)
    (image, features), = read
    assert torch.equal(features, F.conv2d(image, layer.weight.detach(), padding=1).bfloat16())
    assert not torch.equal(features, F.conv2d(image.bfloat16(), layer.weight.detach().bfloat16(), padding=1))
