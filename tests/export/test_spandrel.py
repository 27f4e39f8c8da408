"""The multi-task networks in spandrel."""


import numpy as np
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.archs.swinir_arch import SwinIR

from maxl_sr import Restorer, export
from maxl_sr.archs.detection import NETWORKS, detect
from maxl_sr.utils.packaged import find_weights

spandrel = pytest.importorskip('spandrel')
from maxl_sr.spandrel import install  # noqa: E402

USUAL = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'feat_step': 2, 'num_block': 1, 'scale': 1, 'num_level': 3,
         'num_primary_block': 2, 'num_aux_block': 1}
CHANGES = [{}, {'scale': 2}, {'scale': 3}, {'scale': 4}, {'num_in_ch': 1, 'num_out_ch': 1}, {'feat_step': 0},
           {'num_in_ch': 4, 'num_out_ch': 4, 'scale': 2}, {'num_block': 3, 'num_level': 2}, {'num_level': 4},
           {'num_primary_block': 1, 'num_aux_block': 4}, {'num_level': 1, 'feat_step': 16}, {'num_feat': 11},
           {'num_primary_block': 12, 'num_block': 11}]


@pytest.fixture
def loader():
    registry = spandrel.MAIN_REGISTRY.copy()
    install(registry)
    return spandrel.ModelLoader(registry=registry)


def image(height=37, width=53, channels=3):
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))


def plain(preset):
    return Restorer.from_pretrained(preset, 'cpu').adapted(np.zeros((8, 8, 3), np.float32), steps=0)[0]


@torch.no_grad()
def assert_same(model, net, x):
    torch.testing.assert_close(model(x), net(x).clamp(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize('kind', NETWORKS)
@pytest.mark.parametrize('changes', CHANGES)
def test_every_argument_is_found(loader, kind, changes):
    arguments = {**USUAL, **changes}
    net = NETWORKS[kind](**arguments)
    assert detect(net.state_dict()) == {'type': kind, **arguments}
    model = loader.load_from_state_dict(net.state_dict())
    assert model.architecture.id == f'maxl_sr.{kind}' and type(model.model) is NETWORKS[kind]
    assert model.scale == arguments['scale'] and model.size_requirements.none
    assert model.purpose == ('Restoration' if model.scale == 1 else 'SR')
    assert model.input_channels == model.output_channels == arguments['num_in_ch']
    assert f"{arguments['num_feat']}nf" in model.tags
    assert_same(model, net, image(channels=arguments['num_in_ch']))


@pytest.mark.slow
@pytest.mark.parametrize('preset', ['fast', 'best', 'sr_x2', 'sr_x4'])
def test_the_weights_of_the_package(loader, preset):
    model = loader.load_from_file(find_weights(f'weights/{preset}.pth'))
    assert isinstance(model, spandrel.ImageModelDescriptor)
    assert_same(model, plain(preset), image(9, 40))


@pytest.mark.slow
def test_an_exported_file(loader, tmp_path, monkeypatch):
    pytest.importorskip('safetensors')
    for suffix in ('safetensors', 'pth'):
        path = tmp_path / f'net.{suffix}'
        assert export.main(['-o', str(path), '--preset', 'sr_x2']) == 0
        assert_same(loader.load_from_file(path), plain('sr_x2'), image())


@pytest.mark.parametrize('dtype, least', [(torch.float16, 65), (torch.bfloat16, 50)])
def test_half_precision(loader, dtype, least):
    model, x = loader.load_from_file(find_weights('weights/fast.pth')), image()
    expected = model(x)
    restored = model.to(dtype)(x.to(dtype)).float()
    assert -10 * (restored - expected).square().mean().log10() > least
    with pytest.raises(spandrel.UnsupportedDtypeError):  # its enlargement is of float32
        loader.load_from_file(find_weights('weights/sr_x2.pth')).to(dtype)


@pytest.mark.parametrize('net, id', [
    (RRDBNet(3, 3, num_feat=8, num_block=1), 'ESRGAN'),
    (SRVGGNetCompact(num_feat=8, num_conv=2), 'Compact'),
    (SwinIR(img_size=16, window_size=8, depths=[2], embed_dim=12, num_heads=[2], upscale=2, upsampler='pixelshuffle'),
     'SwinIR'),
])
def test_other_architectures_are_still_themselves(loader, net, id):
    weights = net.state_dict()
    assert loader.load_from_state_dict(weights).architecture.id == id
    assert not any(loader.registry[f'maxl_sr.{kind}'].detect(weights) for kind in NETWORKS)


def test_installing_twice_does_nothing():
    registry = spandrel.ArchRegistry()
    assert [len(install(registry)), len(install(registry)), len(registry)] == [2, 0, 2]
    with pytest.raises(spandrel.DuplicateArchitectureError):
        install(registry, ignore_duplicates=False)
    before = len(spandrel.MAIN_REGISTRY)
    install()
    install()
    assert len(spandrel.MAIN_REGISTRY) - before in (0, 2)
    assert spandrel.ModelLoader().load_from_file(find_weights('weights/fast.pth')).architecture.name == 'MultiTaskNet'


@pytest.mark.parametrize('change, message', [
    (lambda weights: weights.clear(), 'there is no body.conv_first.weight'),
    (lambda weights: weights.pop('primary_head.2.weight'), 'there is no primary_head.2.weight'),
    (lambda weights: weights.pop('body.ups.1.weight'), 'there is no body.ups.1.weight'),
    (lambda weights: weights.update({'tail.weight': torch.zeros(1)}), 'tail.weight is of the shape .* do not have'),
    (lambda weights: weights.update({'primary_head.2.weight': torch.zeros(75, 4, 3, 3)}), 'scale must be one of'),
    (lambda weights: weights.update({'aux_head.2.weight': torch.zeros(6, 4, 3, 3)}), r'aux_head.2.weight .*\(3, 4'),
    (lambda weights: weights.update({'body.conv_first.weight': torch.zeros(4)}), 'not the weights of a MultiTaskNet'),
    (lambda weights: weights.update({'body.conv_first.weight': None}), 'not the weights of a MultiTaskNet'),
])
def test_other_weights_are_refused(change, message):
    weights = dict(NETWORKS['MultiTaskNet'](**USUAL).state_dict())
    change(weights)
    with pytest.raises(ValueError, match=message):
        detect(weights)
