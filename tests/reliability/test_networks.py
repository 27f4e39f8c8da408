"""Networks of a user's on images of any size: in a Restorer, in a test, in an export."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from PIL import Image
from torch import nn

from maxl_sr import Restorer, export
from maxl_sr.archs.auxiliary_head_arch import WithAuxiliaryHead
from maxl_sr.archs.probing import find_halo, mirrored
from maxl_sr.settings.adaptation import Adapt
from tests.helpers import meta_test_options


def conv(given, made, size=3, **options):
    return nn.Conv2d(given, made, size, padding=size // 2, **options)


class EncoderDecoder(nn.Module):
    """Halves its features `level` times; its skips fit only where that leaves no rest."""

    def __init__(self, level=3, upscale=1):
        super().__init__()
        self.first, self.last = conv(3, 4), conv(4, 3 * upscale ** 2)
        self.downs = nn.ModuleList(nn.Conv2d(4, 4, 2, 2) for _ in range(level))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(4, 4, 2, 2) for _ in range(level))
        self.upscale = upscale

    def forward(self, x):
        feat, skips = self.first(x), []
        for down in self.downs:
            skips.append(feat)
            feat = down(feat).relu()
        for up, skip in zip(self.ups, reversed(skips)):
            feat = up(feat) + skip
        return F.pixel_shuffle(self.last(feat), self.upscale) + F.interpolate(x, scale_factor=self.upscale)


class Split(EncoderDecoder):
    """The same, with its features apart."""

    def forward_features(self, x):
        feat, skips = self.first(x), []
        for down in self.downs:
            skips.append(feat)
            feat = down(feat).relu()
        for up, skip in zip(self.ups, reversed(skips)):
            feat = up(feat) + skip
        return feat

    def forward_primary(self, features, x):
        return x + self.last(features)


class Larger(nn.Module):
    """Gives an image that is larger than its input, where that is odd, without a word."""

    def __init__(self):
        super().__init__()
        self.first, self.last = conv(3, 4, stride=2), nn.ConvTranspose2d(4, 3, 2, 2)

    def forward(self, x):
        return self.last(self.first(x).relu())


class Shuffled(nn.Module):
    def __init__(self, factor=6):
        super().__init__()
        self.last, self.factor = conv(3 * factor ** 2, 3 * factor ** 2), factor

    def forward(self, x):
        return F.pixel_shuffle(self.last(F.pixel_unshuffle(x, self.factor)), self.factor)


class Windows(nn.Module):
    """Attends within windows of 7 pixels, without padding."""

    def __init__(self, window=7):
        super().__init__()
        self.last, self.window = conv(3, 3, 1), window

    def forward(self, x):
        n, (height, width) = self.window, x.shape[2:]
        parts = x.view(-1, 3, height // n, n, width // n, n)
        return self.last(x + parts.mean((3, 5), keepdim=True).expand_as(parts).reshape(x.shape))


class Whole(nn.Module):
    """Every value depends on all of the image."""

    def __init__(self):
        super().__init__()
        self.last = conv(3, 3)

    def forward(self, x):
        return self.last(x) * x.mean((2, 3), keepdim=True)


class Aligned(nn.Module):
    """Takes any size, but what it does depends on where the image begins."""

    def __init__(self):
        super().__init__()
        self.last = conv(3, 3)

    def forward(self, x):
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % 4, 0, -height % 4), 'replicate')
        coarse = F.interpolate(F.avg_pool2d(padded, 4), scale_factor=4)
        return self.last(x + coarse[..., :height, :width])


class Stating(EncoderDecoder):
    """Says itself what it takes."""

    multiple, halo = 16, 24


class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = conv(3, 3)

    def forward(self, x):
        raise RuntimeError('out of order')


NETS = [EncoderDecoder, Split, Larger, Shuffled, Windows, Whole, Aligned, Stating, Broken]
for kind in NETS:
    if f'{kind.__name__}ForTest' not in ARCH_REGISTRY:
        kind.__name__ += 'ForTest'
        ARCH_REGISTRY.register()(kind)
CASES = [('EncoderDecoder', {}, 8), ('EncoderDecoder', {'level': 1}, 2), ('EncoderDecoder', {'level': 5}, 32),
         ('Split', {}, 8), ('Larger', {}, 2), ('Shuffled', {}, 6), ('Shuffled', {'factor': 5}, 5), ('Windows', {}, 7),
         ('Whole', {}, 1), ('Aligned', {}, 1), ('Stating', {}, 16)]
SIZES = [(33, 41), (40, 48), (1, 1), (3, 70), (8, 7)]


def section(name, scale=1, **arguments):
    return {'type': 'WithAuxiliaryHead', 'base': {'type': f'{name}ForTest', **arguments},
            'head': ['last'], 'num_feat': 4, 'scale': scale}


def wrapped(name, scale=1, **arguments):
    torch.manual_seed(0)
    given = {key: value for key, value in section(name, scale, **arguments).items() if key != 'type'}
    return WithAuxiliaryHead(**given).eval()


@pytest.mark.parametrize('name, arguments, multiple', CASES)
def test_images_of_any_size(name, arguments, multiple):
    net = wrapped(name, **arguments)
    assert net.multiple == multiple
    for height, width in SIZES:
        x = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))
        restored, reconstruction = net.forward_heads(net.forward_features(x), x)
        assert restored.shape == reconstruction.shape == x.shape and torch.equal(net(x), restored)
        if not height % multiple and not width % multiple:
            torch.testing.assert_close(restored, net.base(x))
        fitted = mirrored(x, -(-height // multiple) * multiple, -(-width // multiple) * multiple)
        torch.testing.assert_close(restored, net.base(fitted)[..., :height, :width])


def test_enlarged_images_of_any_size():
    net = wrapped('EncoderDecoder', 2, upscale=2)
    assert net.multiple == 8 and net(torch.rand(1, 3, 33, 41)).shape == (1, 3, 66, 82)


def test_an_image_is_continued_by_reflection():
    x = torch.arange(4.)[None, None, None]
    assert mirrored(x, 2, 9)[0, 0].tolist() == [[0, 1, 2, 3, 2, 1, 0, 1, 2]] * 2
    torch.testing.assert_close(mirrored(torch.rand(1, 3, 5, 6), 8, 8).shape, torch.Size([1, 3, 8, 8]))
    y = torch.rand(1, 3, 5, 6)
    torch.testing.assert_close(mirrored(y, 8, 8), F.pad(y, (0, 2, 0, 3), 'reflect'))


def test_a_network_that_takes_nothing_says_so_itself():
    net = wrapped('Broken')
    assert net.multiple == 1 and net.halo is None
    with pytest.raises(RuntimeError, match='out of order'):
        net(torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize('name, arguments, halo', [
    ('EncoderDecoder', {}, 16), ('EncoderDecoder', {'level': 1}, 8), ('Split', {}, 16), ('Larger', {}, 6),
    ('Shuffled', {}, 12), ('Windows', {}, 7), ('Whole', {}, None), ('Aligned', {}, None), ('Stating', {}, 32)])
def test_the_halo_is_found(name, arguments, halo):
    found = wrapped(name, **arguments).halo
    assert found == halo or halo is not None and found is not None and found % wrapped(name, **arguments).multiple == 0


def test_the_halo_of_deep_networks_is_none():
    deep = nn.Sequential(*(conv(3, 3) for _ in range(100))).eval()
    assert find_halo(lambda x: [deep(x)], 3, 1) is None
    shallow = nn.Sequential(*(conv(3, 3) for _ in range(20))).eval()
    assert find_halo(lambda x: [shallow(x)], 3, 1) == 20
    hiding = nn.Sequential(conv(3, 3), nn.Flatten(0, 0))
    assert find_halo(lambda x: [hiding(x).nan_to_num()], 3, 1) is None


ADAPTING = Adapt(steps=2, lr=1e-2, aux_opt={'type': 'MaskedReconstructionLoss'})


@pytest.mark.parametrize('name, arguments', [(name, arguments) for name, arguments, _ in CASES])
def test_the_restorer_takes_any_size_and_tiles_change_nothing(name, arguments):
    net = wrapped(name, **arguments)
    restorer = Restorer(net, ADAPTING, 'cpu')
    for height, width in SIZES:
        y = np.random.default_rng(0).random((height, width, 3), np.float32)
        assert restorer.restore(y).shape == y.shape
    y = np.random.default_rng(0).random((130, 101, 3), np.float32)
    whole = restorer.run(y)
    parts = restorer.run(y, tile=64 // net.multiple * net.multiple)
    np.testing.assert_allclose(parts.image, whole.image, rtol=0, atol=1e-5)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)


@pytest.mark.parametrize('name', ['EncoderDecoder', 'Split', 'Shuffled'])
def test_a_test_by_option_file_takes_any_size(make_pairs, run, tmp_path, name):
    pairs = make_pairs(height=33, width=45, count=2)
    net = wrapped(name)
    (tmp_path / 'models').mkdir()
    torch.save({'params': net.state_dict()}, tmp_path / 'models/net_g_latest.pth')
    opt = meta_test_options(pairs, tmp_path / 'models')
    opt['network_g'] = section(name)
    del opt['network_m'], opt['path']['pretrain_network_m']
    assert run('test', opt) == 0
    assert (tmp_path / 'results/tiny_test/tiny.csv').read_text().count('\n') == 3


@pytest.mark.slow
@pytest.mark.parametrize('name', ['EncoderDecoder', 'Split', 'Larger'])
def test_an_export_takes_any_size(tmp_path, monkeypatch, name):
    runtime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    net = wrapped(name).requires_grad_(False)
    source = export.Source(net, 'own', 'WithAuxiliaryHead', dict(section(name)), None, 0, '')
    model, found = export.to_onnx(source)
    assert found < 1e-4
    session = runtime.InferenceSession(model, providers=['CPUExecutionProvider'])
    for height, width in ((33, 41), (64, 48), (9, 100)):
        x = torch.rand(2, 3, height, width)
        np.testing.assert_allclose(session.run(None, {'image': x.numpy()})[0], net(x), rtol=0, atol=1e-4)


def test_an_export_can_be_adapted_to_a_photograph_of_any_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'params': wrapped('EncoderDecoder').state_dict()}, 'own.pth')
    (tmp_path / 'own.yml').write_text(yaml.safe_dump({
        'name': 'own', 'model_type': 'MetaTransferModel', 'num_gpu': 0, 'datasets': {},
        'network_g': section('EncoderDecoder'), 'path': {'pretrain_network_g': 'own.pth'},
        'val': {'adapt': {'steps': 1, 'lr': 0.001}}}))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)).save('in.png')
    arguments = ['-o', 'out.pth', '-opt', 'own.yml', '--image', 'in.png', '--device', 'cpu']
    assert export.main(arguments) == 0
