"""Restoring images from Python: presets, kinds of images, tiles, threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import pyvips
import torch
import yaml

from maxl_sr import Restorer
from maxl_sr.archs.mask_arch import FeatureMaskNet, MaskNet, mask_of
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.photo import Photo
from maxl_sr.presets import PRESETS
from maxl_sr.restore.pixels import sample
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.utils.packaged import PACKAGE, find_option_file
from tests.helpers import slow, tiny_mask_net, tiny_net
from tests.restore.restorers import ADAPTING, image, make


@pytest.mark.parametrize('name', ['fast', *slow(*(name for name in PRESETS if name != 'fast'))])
def test_presets_restore_as_their_option_files_say(name):
    restorer = Restorer.from_pretrained(name, 'cpu')
    with open(find_option_file(PRESETS[name].options), encoding='utf-8') as file:
        opt = yaml.safe_load(file)
    y = image()
    restored = restorer.restore(y, steps=0)
    arguments = {key: value for key, value in opt['network_g'].items() if key != 'type'}
    net = MultiTaskNet(**arguments)
    net.load_state_dict(torch.load(PACKAGE / f'weights/{name}.pth')['params'])
    with torch.no_grad():  # mirrored up to multiples of 8, as tiles need it
        x = torch.from_numpy(np.pad(y, ((0, 4), (0, 0), (0, 0)), 'symmetric')).permute(2, 0, 1)[None] / 255
        expected = (net(x)[0, :, :restored.shape[0]].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert restored.dtype == np.uint8 and restored.shape == tuple(opt['scale'] * side for side in y.shape[:2]) + (3, )
    assert np.abs(restored.astype(int) - expected).max() <= 1
    assert restorer.has_mask == ('network_m' in opt) and restorer.adapts == ('adapt' in opt['val'])
    run = restorer.run(y)
    steps = opt['val']['adapt']['steps'] if restorer.adapts else 0
    assert run.steps <= len(run.losses) <= steps and run.seconds > 0
    if 'guard' not in opt['val'].get('adapt', {}):  # which may leave the image alone
        assert bool(run.losses) == restorer.adapts


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, *slow(np.float16, np.float32, np.float64)])
@pytest.mark.parametrize('shape', [(60, 72, 3), (60, 72, 1), (60, 72), (61, 75, 3), (1, 1, 3), (3, 200, 3)])
def test_the_kind_of_the_image_is_kept(dtype, shape):
    y = image(72, 204, 3, dtype=dtype)[:shape[0], :shape[1]]
    y = y.reshape(shape) if y.shape == shape else y[..., :1].reshape(shape)
    restored = make(ADAPTING).restore(y)
    assert restored.dtype == dtype and restored.shape == shape and isinstance(restored, np.ndarray)
    whole = make(ADAPTING).restore(y.astype(np.float64) / (1 if y.dtype.kind == 'f' else np.iinfo(dtype).max))
    tolerance = {'e': 1e-3, 'f': 1e-6, 'd': 0}[np.dtype(dtype).char] if y.dtype.kind == 'f' else 1 / np.iinfo(dtype).max
    largest = 1 if y.dtype.kind == 'f' else np.iinfo(dtype).max
    np.testing.assert_allclose(restored / largest, whole, rtol=0, atol=tolerance)


@pytest.mark.parametrize('scale', [1, *slow(2)])
@pytest.mark.parametrize('sampled', [None, *slow(2000)])
def test_tiles_do_not_change_the_result(scale, sampled):
    y = image(120, 96, dtype=np.float32)
    objective = {'type': 'BlindSpotLoss' if scale == 1 else 'MaskedReconstructionLoss'}
    restorer = make({**ADAPTING, 'aux_opt': objective}, scale)
    whole = restorer.run(y, sample_pixels=sampled)
    for tile in (16, 32):
        parts = restorer.run(y, tile=tile, sample_pixels=sampled)
        np.testing.assert_allclose(parts.image, whole.image, rtol=0, atol=1e-5)
        assert parts.losses == pytest.approx(whole.losses, rel=1e-4)


@pytest.mark.parametrize('tile', [16, 32, 512])
@pytest.mark.parametrize('features', [False, True])
def test_the_mask_by_tiles_is_that_of_the_whole_image(monkeypatch, tile, features):
    torch.manual_seed(0)
    net, mask_net = tiny_net(), MaskNet(num_feat=4, num_block=2)
    if features:
        mask_net = FeatureMaskNet(num_feat=4, num_block=2, num_net_feat=net.body.conv_first.out_channels)
    restorer = Restorer(net, device='cpu', mask_net=mask_net)
    monkeypatch.setattr(restorer, '_tile_size', lambda: tile)
    y = image(72, 96)[:70, :95]
    padded = np.pad(y, ((0, 2), (0, 1), (0, 0)), 'symmetric')
    expected = mask_of(mask_net, net, torch.from_numpy(padded).permute(2, 0, 1)[None] / 255)[0, 0, :70, :95]
    np.testing.assert_allclose(restorer.mask(y), expected.detach(), rtol=0, atol=1e-6)
    assert make().mask(y) is None


def test_the_mask_network_weighs_the_objective():
    torch.manual_seed(0)
    net, mask_net = tiny_net(), tiny_mask_net()
    options = Adapt(steps=1, lr=1e-3, aux_opt={'type': 'MaskedReconstructionLoss'})
    y = image(72, 96, dtype=np.float32)  # not padded
    restorer = Restorer(net, options, 'cpu', mask_net=mask_net)
    loss, = restorer.run(y).losses
    with torch.no_grad():
        x = torch.from_numpy(y).permute(2, 0, 1)[None]
        _, reconstructed = net.forward_heads(net.forward_features(x), x)
        expected = ((reconstructed - x).abs() * mask_net(x)).mean()
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert restorer.run(y, tile=16).losses[0] == pytest.approx(loss, rel=1e-5)


def test_the_adapted_network_restores_the_image_as_the_restorer_does():
    restorer, y = make(ADAPTING), image(dtype=np.float32)
    net, step = restorer.adapted(y)
    with torch.no_grad():
        alone = net(torch.from_numpy(y).permute(2, 0, 1)[None])[0].permute(1, 2, 0).clamp(0, 1)
    np.testing.assert_allclose(restorer.restore(y), alone, rtol=0, atol=1e-6)
    assert step == 2 and not np.array_equal(restorer.restore(y, steps=0), restorer.restore(y))
    assert restorer.adapted(y, steps=0)[1] == 0


def test_progress_is_told():
    told = []
    run = make(ADAPTING).run(image(), progress=lambda step, loss: told.append((step, loss)))
    assert told == list(enumerate(run.losses, start=1)) and len(told) == 2


def test_smaller_tiles_where_memory_runs_out(monkeypatch):
    restorer, sizes = make(ADAPTING), []
    adapt = restorer._adapt

    def scarce(pixels, size, *others):
        sizes.append(size)
        if size > 128:
            torch.empty(2 ** 50)  # more than there is
        return adapt(pixels, size, *others)

    y = image()
    expected = restorer.restore(y)
    monkeypatch.setattr(restorer, '_adapt', scarce)
    monkeypatch.setattr(restorer, '_tile_size', lambda: 512)
    assert np.array_equal(restorer.restore(y), expected) and sizes == [512, 256, 128]
    with pytest.raises(MemoryError, match='not enough memory for tiles of 256 pixels'):
        restorer.restore(y, tile=256)


def test_threads_do_not_see_each_others_weights():
    restorer = make({**ADAPTING, 'steps': 4})
    images = [image(seed=seed) for seed in range(4)]
    alone = [restorer.restore(y) for y in images]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for expected, restored in zip(alone, pool.map(restorer.restore, images)):
                np.testing.assert_array_equal(restored, expected)
    before = make().restore(images[0])
    assert not np.array_equal(before, alone[0]) and np.array_equal(restorer.restore(images[0], steps=0), before)


def test_a_sample_is_spread_over_the_image():
    pixels = np.arange(600 * 1000).reshape(600, 1000, 1)
    part = sample(pixels, 4 * 256 ** 2)
    assert part.shape == (512, 512, 1)
    assert part[0, 0] == 0 and part[256, 256] == (600 - 256) // 16 * 16 * 1000 + (1000 - 256) // 16 * 16
    assert sample(pixels, 600 * 1000) is pixels
    assert sample(pixels[:100], 60000).shape == (100, 512, 1)
    assert sample(np.zeros((60000, 300, 1), np.uint8), 2 ** 20).shape == (4096, 256, 1)


def test_the_guard_refuses_an_adaptation_that_diverged():
    restorer = make({**ADAPTING, 'guard': {'aux_opt': {'type': 'BlindSpotLoss', 'seed': 1}}})
    run = restorer.run(image(), lr=1e30)
    assert run.steps == 0 and np.array_equal(run.image, restorer.restore(image(), steps=0))


def test_the_network_of_the_user_is_left_alone():
    net = tiny_net().train()
    Restorer(net, Adapt(**ADAPTING), 'cpu').restore(image())
    assert net.training and all(weight.requires_grad for weight in net.parameters())


@pytest.mark.parametrize('changes, message', [
    ({'network_m': {'type': 'MaskNet'}}, "key 'pretrain_network_m' is missing"),
    ({'network_g': {'type': 'RIDNet'}, 'path': {'pretrain_network_g': None}}, "key 'pretrain_network_g' is missing"),
    ({'network_g': {'type': 'MultiTaskNet', 'num_feat': 16}}, 'is a checkpoint of another MultiTaskNet'),
    ({'path': {'pretrain_network_g': 'lost.pth'}}, 'there is no file lost.pth'),
    ({'val': {'adapt': {'step': 5}}}, "val: adapt: unknown key 'step'; did you mean 'steps'"),
    ({'path': None}, 'path cannot be None'),
])
def test_mistakes_in_an_option_file_are_named(tmp_path, changes, message):
    with open(find_option_file(PRESETS['fast'].options), encoding='utf-8') as file:
        opt = {**yaml.safe_load(file), 'path': {'pretrain_network_g': 'weights/fast.pth'}, **changes}
    (tmp_path / 'test.yml').write_text(yaml.safe_dump(opt))
    with pytest.raises(ValueError, match=message):
        Restorer.from_options(str(tmp_path / 'test.yml'), device='cpu')


@pytest.mark.slow
def test_an_option_file_that_adapts_as_it_was_trained(tmp_path):
    with open(find_option_file(PRESETS['fast'].options), encoding='utf-8') as file:
        opt = {**yaml.safe_load(file), 'path': {'pretrain_network_g': 'weights/fast.pth'}}
    y, expected = image(), Restorer.from_options(PRESETS['fast'].options, 'weights/fast.pth', 'cpu').run(image())
    opt['train'] = {'aux_opt': opt['val']['adapt'].pop('aux_opt')}
    (tmp_path / 'test.yml').write_text(yaml.safe_dump(opt))
    assert Restorer.from_options(str(tmp_path / 'test.yml'), device='cpu').run(y).losses == expected.losses


def test_files(tmp_path):
    restorer, y = make(ADAPTING), image(dtype=np.uint16)
    pyvips.Image.new_from_array(y).copy(interpretation='rgb16').write_to_file(str(tmp_path / 'in.tif'))
    expected = restorer.restore(y)
    np.testing.assert_array_equal(restorer.restore(tmp_path / 'in.tif'), expected)
    assert restorer.restore(str(tmp_path / 'in.tif'), tmp_path / 'out.png') == tmp_path / 'out.png'
    np.testing.assert_array_equal(Photo.read(tmp_path / 'out.png').pixels, expected)


@pytest.mark.parametrize('steps', [np.int64(2), np.uint8(2), np.int32(2), 2])
def test_integers_of_numpy_are_integers(steps):
    assert len(make(ADAPTING).run(image(), steps=steps, sample_pixels=np.int64(2 ** 20), tile=np.int64(64)).losses) == 2
