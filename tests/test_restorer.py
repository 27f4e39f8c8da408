"""Restoring images from Python: presets, kinds of images, tiles, threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest
import pyvips
import torch
import yaml

from maxl_sr import Restorer
from maxl_sr.archs.mask_arch import MaskNet
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.errors import UserError
from maxl_sr.photo import Photo
from maxl_sr.presets import PRESETS
from maxl_sr.restore.pixels import sample
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.utils.packaged import PACKAGE, find_option_file


def image(height=60, width=72, channels=3, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    clean = np.kron(rng.random((height // 12, width // 12, channels)), np.ones((12, 12, 1)))
    noisy = (clean + rng.normal(0, 0.1, clean.shape)).clip(0, 1)
    return noisy.astype(dtype) if np.dtype(dtype).kind == 'f' else (noisy * np.iinfo(dtype).max).round().astype(dtype)


def make(options=None, scale=1):
    torch.manual_seed(0)
    net = MultiTaskNet(num_feat=4, feat_step=2, num_block=1, num_level=2, scale=scale)
    return Restorer(net, Adapt(**options) if options else None, 'cpu')


ADAPTING = {'steps': 2, 'lr': 1e-2, 'aux_opt': {'type': 'BlindSpotLoss'}}


@pytest.mark.parametrize('name', PRESETS)
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
    assert run.steps <= len(run.losses) <= steps and bool(run.losses) == restorer.adapts and run.seconds > 0


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float16, np.float32, np.float64])
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


@pytest.mark.parametrize('scale', [1, 2])
@pytest.mark.parametrize('sampled', [None, 2000])
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
def test_the_mask_by_tiles_is_that_of_the_whole_image(monkeypatch, tile):
    torch.manual_seed(0)
    mask_net = MaskNet(num_feat=4, num_block=2)
    restorer = Restorer(MultiTaskNet(num_feat=4, feat_step=2, num_block=1, num_level=2), device='cpu',
                        mask_net=mask_net)
    monkeypatch.setattr(restorer, '_tile_size', lambda: tile)
    y = image(72, 96)[:70, :95]
    padded = np.pad(y, ((0, 2), (0, 1), (0, 0)), 'symmetric')
    expected = mask_net(torch.from_numpy(padded).permute(2, 0, 1)[None] / 255)[0, 0, :70, :95]
    np.testing.assert_allclose(restorer.mask(y), expected.detach(), rtol=0, atol=1e-6)
    assert make().mask(y) is None


def test_the_mask_network_weighs_the_objective():
    torch.manual_seed(0)
    net, mask_net = MultiTaskNet(num_feat=4, feat_step=2, num_block=1, num_level=2), MaskNet(num_feat=4, num_block=1)
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
    net = MultiTaskNet(num_feat=4, feat_step=2, num_block=1, num_level=2).train()
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


@pytest.mark.parametrize('dtype', [torch.uint8, torch.uint16, torch.float32, torch.float64, torch.float16,
                                   torch.bfloat16])
@pytest.mark.parametrize('shape', [(3, 60, 72), (1, 3, 60, 72), (60, 72), (1, 60, 72), (1, 1, 60, 72)])
@pytest.mark.parametrize('scale', [1, 2])
def test_tensors(dtype, shape, scale):
    y = image(channels=3 if 3 in shape else 1, dtype=np.float32)
    planes = torch.from_numpy(y).permute(2, 0, 1).reshape(shape)
    largest = {torch.uint8: 255, torch.uint16: 65535}.get(dtype)
    given = planes.to(dtype) if largest is None else (planes * largest).round().to(dtype)
    restored = make(scale=scale).restore(given)
    assert restored.dtype == dtype and restored.shape == (*shape[:-2], 60 * scale, 72 * scale)
    expected = torch.from_numpy(make(scale=scale).restore(y)).permute(2, 0, 1).reshape(restored.shape)
    tolerance = {torch.uint8: 8e-3, torch.float16: 2e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-4)
    torch.testing.assert_close(restored.float() / (largest or 1), expected, rtol=0, atol=tolerance)
    assert given.requires_grad is False


@pytest.mark.parametrize('mode', ['L', 'RGB', 'I;16'])
def test_images_of_pillow(mode):
    y = image(channels=3 if mode == 'RGB' else 1, dtype=np.uint16 if mode == 'I;16' else np.uint8)
    y = y if mode == 'RGB' else y[..., 0]
    given = PIL.Image.fromarray(y)
    given.info['icc_profile'] = b'profile'
    restored = make().restore(given)
    assert given.mode == restored.mode == mode and restored.info == {'icc_profile': b'profile'}
    np.testing.assert_array_equal(np.asarray(restored), make().restore(y))


def test_any_path(tmp_path):
    PIL.Image.fromarray(image()).save(tmp_path / 'a.png')

    class Named:
        def __fspath__(self):
            return str(tmp_path / 'a.png')

    np.testing.assert_array_equal(make().restore(Named()), make().restore(image()))


NO_IMAGES = {'None': None, 'a list': [[1, 2], [3, 4]], 'a int': 3, 'a bytes': b'x', 'a dict': {}, 'a tuple': (1, 2),
             'a set': set(), 'a float': 0.5, 'a object': object(), 'a type': np.ndarray, 'a range': range(3)}


@pytest.mark.parametrize('kind', NO_IMAGES)
def test_what_is_no_image_is_refused_in_a_sentence(kind):
    with pytest.raises(UserError, match='an image must be a NumPy array, a tensor, an image of Pillow or the path of a '
                                        f'file, not {kind}$'):
        make().restore(NO_IMAGES[kind])
    with pytest.raises(UserError, match='an image must be a NumPy array'):
        make().run(NO_IMAGES[kind])


@pytest.mark.parametrize('given, message', [
    (torch.zeros(4, 8, 8), r'a tensor must be of shape .* not \(4, 8, 8\)'),
    (torch.zeros(2, 3, 8, 8), r'a tensor must be of shape'), (torch.zeros(8), 'a tensor must be of shape'),
    (torch.zeros(3, 0, 8), r'an image must be of shape'), (torch.zeros(3, 8, 8).long(), 'not int64'),
    (torch.full((3, 8, 8), 2.0), r'must be in \[0, 1\], not 2.0'), (torch.zeros(3, 8, 8, dtype=torch.bool), 'not bool'),
    (torch.zeros(3, 8, 8, dtype=torch.complex64), 'not complex64'),
    (PIL.Image.new('RGBA', (8, 8)), 'an image of Pillow must be of mode L, RGB, I;16, not RGBA; convert it'),
    (PIL.Image.new('P', (8, 8)), 'not P'), (PIL.Image.new('CMYK', (8, 8)), 'not CMYK'),
    (PIL.Image.new('1', (8, 8)), 'not 1'), (PIL.Image.new('RGB', (0, 8)), 'an image must be of shape'),
    (np.array(None), r'of shape .* not \(\)'), (np.array([['a']]), 'not <U1'),
])
def test_tensors_and_images_of_pillow_that_cannot_be_restored(given, message):
    with pytest.raises(UserError, match=message):
        make().restore(given)


@pytest.mark.parametrize('call, message', [
    (lambda: Restorer.from_pretrained('slow'), "there is no preset 'slow'; the package brings fast, "),
    (lambda: Restorer.from_pretrained('fast', 'abacus'), "device 'abacus' is unknown"),
    (lambda: Restorer.from_pretrained('fast', 'meta'), "device 'meta' is unknown"),
    (lambda: Restorer(torch.nn.Conv2d(3, 3, 1)), 'a Conv2d has no heads to adapt'),
    (lambda: make().restore(image(), sample_pixels=0), 'sample_pixels must be an integer of at least 1, not 0'),
    (lambda: make(ADAPTING).restore(image(), steps=1.5), 'steps must be an integer of at least 0, not 1.5'),
    (lambda: make(ADAPTING).restore(image(), lr=1e30), 'the adaptation diverged: the restored image is not finite'),
    (lambda: make(ADAPTING).restore(image(), lr=1e38, steps=1), 'the adaptation diverged'),  # its loss was finite
    (lambda: make().restore(np.zeros((4, 4, 4), np.uint8)), r'an image must be of shape .* not \(4, 4, 4\)'),
    (lambda: make().restore(np.zeros((0, 4, 3), np.uint8)), r'an image must be of shape .* not \(0, 4, 3\)'),
    (lambda: make().restore(np.zeros((4, 4, 3), np.int64)), 'uint8, uint16 or floating point, not int64'),
    (lambda: make().restore(np.full((4, 4, 3), 255.0)), r'must be in \[0, 1\], not 255.0'),
    (lambda: make().restore(np.full((4, 4, 3), np.nan)), r'must be in \[0, 1\], not nan'),
    (lambda: make().restore(image(), steps=1), 'this network has no objective to adapt on'),
    (lambda: make(ADAPTING).restore(image(), steps=-1), 'steps must be an integer of at least 0, not -1'),
    (lambda: make(ADAPTING).restore(image(), lr=0.0), 'lr must be greater than 0, not 0.0'),
    (lambda: make().restore(image(), tile=33), 'tile must be a multiple of 2, not 33'),
    (lambda: make().restore(image(), 'out.png'), 'output is for an image that is given by its path'),
    (lambda: make().restore('lost.png'), 'there is no file lost.png'),
    (lambda: make(ADAPTING).restore(image(), steps=True), 'steps must be an integer of at least 0, not True'),
    (lambda: make(ADAPTING).restore(image(), steps='2'), "steps must be an integer of at least 0, not '2'"),
    (lambda: make(ADAPTING).restore(image(), steps=np.float64(2)), 'steps must be an integer'),
    (lambda: make(ADAPTING).restore(image(), steps=10 ** 30), 'steps must be at most 100000'),
    (lambda: make(ADAPTING).restore(image(), lr='0.1'), "lr must be greater than 0, not '0.1'"),
    (lambda: make(ADAPTING).restore(image(), lr=np.inf), 'lr must be greater than 0, not inf'),
    (lambda: make(ADAPTING).restore(image(), lr=np.nan), 'lr must be greater than 0, not nan'),
    (lambda: make().restore(image(), tile=64.0), 'tile must be an integer of at least 1, not 64.0'),
    (lambda: make().restore(image(), tile=0), 'tile must be an integer of at least 1, not 0'),
    (lambda: make().restore(torch.zeros(3, 8, 8), 'out.png'), 'output is for an image that is given by its path'),
])
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
