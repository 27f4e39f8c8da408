"""WithAuxiliaryHead around networks of the toolbox and of a user."""

import pytest
import torch
import torch.nn.functional as F
from basicsr.archs import build_network
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn
from torch.func import functional_call

from maxl_sr.archs.auxiliary_head_arch import WithAuxiliaryHead
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.meta import Task, adapt, adaptable_weights, transfer_loss
from tests.helpers import train_options
from tests.meta.unrolled import EXACT, assert_close, gradients

RIDNET = {'type': 'RIDNet', 'in_channels': 3, 'mid_channels': 16, 'out_channels': 3, 'num_block': 1, 'img_range': 1.0}
MSR = {'type': 'MSRResNet', 'num_feat': 8, 'num_block': 1}
EDSR = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'img_range': 1.0}
SWIN = {'type': 'SwinIR', 'img_size': 8, 'window_size': 4, 'embed_dim': 12, 'depths': [2],
        'num_heads': [2], 'drop_path_rate': 0.9, 'drop_rate': 0.5,
        'upsampler': '', 'img_range': 1.0}
CASES = [(RIDNET, ['tail'], 1), (MSR | {'upscale': 2}, ['conv_hr', 'conv_last'], 2),
         (EDSR | {'upscale': 4}, ['conv_last'], 4), (SWIN, ['conv_last'], 1)]


def wrapped(base, head, scale):
    torch.manual_seed(0)
    return WithAuxiliaryHead(base, head, num_feat=6, scale=scale)


@pytest.mark.parametrize('base, head, scale', CASES)
def test_shapes_and_what_adapts(base, head, scale):
    net, x = wrapped(base, head, scale), torch.rand(2, 3, 8, 8)
    restored, reconstruction = net.forward_heads(net.forward_features(x), x)
    assert restored.shape == (2, 3, 8 * scale, 8 * scale) and reconstruction.shape == x.shape
    torch.testing.assert_close(net(x), restored)
    torch.testing.assert_close(net(x), net.base(x))
    names = set(adaptable_weights(net, 'heads'))
    assert names == {name for name, _ in net.named_parameters()
                     if name.split('.')[0] == 'aux_head' or name.split('.')[1] in head}
    other = wrapped(base, head, scale)
    other.load_state_dict(net.state_dict(), strict=True)
    assert torch.equal(other(x), net(x))


@pytest.mark.parametrize('base, head, scale', CASES)
def test_meta_gradients_equal_unrolled_autograd(base, head, scale):
    net = wrapped(base, head, scale).double()
    y = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    x = torch.rand(2, 3, 8 * scale, 8 * scale, dtype=torch.float64)
    mask = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    names, weights = zip(*net.named_parameters())

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, image):
            restored = self.net.base(image)
            enlarged = F.interpolate(image, scale_factor=scale, mode='bicubic', antialias=True) if scale > 1 else image
            outputs = torch.cat([restored, restored - enlarged], 1)
            return restored, self.net.aux_head(F.pixel_unshuffle(outputs, scale))

    total = 0
    for i in range(2):
        own = {f'net.{name}': weight for name, weight in net.named_parameters()}
        moving = [f'net.{name}' for name in adaptable_weights(net, 'heads')]
        for _ in range(2):
            loss = ((functional_call(Both(), own, (y[i:i + 1], ))[1] - y[i:i + 1]).abs() * mask[i:i + 1]).mean()
            grads = torch.autograd.grad(loss, [own[name] for name in moving], create_graph=True)
            own = own | {name: own[name] - 0.05 * grad for name, grad in zip(moving, grads)}
        total = total + (functional_call(Both(), own, (y[i:i + 1], ))[0] - x[i:i + 1]).abs().mean()
    reference = gradients(total, [*weights, mask])
    for meta_gradient, samples in EXACT:
        ours = transfer_loss(net, MaskedReconstructionLoss(), F.l1_loss, y, x, mask, steps=2, lr=0.05,
                             meta_gradient=meta_gradient, samples=samples)
        torch.testing.assert_close(ours, total, rtol=1e-12, atol=0)
        assert_close(gradients(ours, [*weights, mask]), reference, [*names, 'mask'], 1e-9)


class Split(nn.Module):
    """A user's network with a split: its features are computed once an image."""

    def __init__(self, num_feat=4):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, num_feat, 3, padding=1), nn.Conv2d(num_feat, 3, 3, padding=1)

    def forward_features(self, x):
        return self.first(x).relu()

    def forward_primary(self, features, x):
        return x + self.last(features)

    def forward(self, x):
        return self.forward_primary(self.forward_features(x), x)


@pytest.fixture
def split_net():
    if 'Split' not in ARCH_REGISTRY:
        ARCH_REGISTRY.register(Split)
    return WithAuxiliaryHead({'type': 'Split'}, ['last'], num_feat=4)


def test_a_split_network_runs_its_features_once(split_net):
    calls = []
    split_net.base.first.register_forward_hook(lambda *args: calls.append(1))
    task = Task(split_net, MaskedReconstructionLoss(), torch.rand(1, 3, 8, 8), None)
    *_, (weights, _) = adapt(task, 3, 0.1)
    task.restored(weights)
    assert len(calls) == 1


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_a_network_of_the_toolbox_trains_by_option_file(model, make_pairs, run):
    opt = train_options(model, make_pairs())
    opt['network_g'] = {'type': 'WithAuxiliaryHead', 'base': RIDNET, 'head': ['tail'], 'num_feat': 4}
    if model == 'MetaTransferModel':
        opt['train']['inner'].update(learn_lr='tensor')
        opt['train']['optim_r'] = dict(opt['train']['optim_g'])
        del opt['val']['adapt']['lr']
    assert run('train', opt) == 0


@pytest.mark.parametrize('arguments, message', [
    ({'base': {'type': 'RIDNett'}, 'head': ['tail']}, "base must be a section whose 'type' names a network"),
    ({'base': RIDNET, 'head': ['tial']}, "head: RIDNet has no sub-module 'tial'; it has sub_mean, add_mean, head"),
    ({'base': RIDNET, 'head': ['relu']}, "head: the sub-module 'relu' of RIDNet has no weights to train"),
    ({'base': RIDNET, 'head': 'tail'}, "head must be a list of names of sub-modules of the base, not 'tail'"),
    ({'base': RIDNET, 'head': []}, 'head must be a list'), ({'base': RIDNET, 'head': ['tail'], 'scale': 7}, 'not 7'),
])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WithAuxiliaryHead(**arguments)


def test_registered_with_basicsr():
    assert type(build_network({'type': 'WithAuxiliaryHead', 'base': RIDNET, 'head': ['tail']})) is WithAuxiliaryHead


def test_a_network_that_basicsr_registers_with_its_suffix():
    base = {'type': 'SRVGGNetCompact', 'num_feat': 8, 'num_conv': 2, 'upscale': 2}
    assert WithAuxiliaryHead(base, ['body'], scale=2)(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)
