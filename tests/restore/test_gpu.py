"""Photographs restored on a GPU as on the CPU."""

import cv2
import numpy as np
import pytest
import torch

from maxl_sr import Restorer
from maxl_sr.__main__ import main
from maxl_sr.export import source
from maxl_sr.meta import InnerRates
from maxl_sr.presets import PRESETS
from maxl_sr.restore import precision
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.utils.machine import free_memory
from tests.gpu import DEVICE, exact_convolutions  # noqa: F401
from tests.helpers import photograph, tiny_mask_net, tiny_net
from tests.meta.test_gpu import OBJECTIVES, peak

pytestmark = pytest.mark.gpu

ADAM = {'steps': 3, 'lr': 1e-3, 'optimizer': 'adam'}


def image(height=96, width=112):
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    return np.clip(photograph(0, height, width) / 255 + noise / 255, 0, 1).astype(np.float32)


def on_both(options, lr=None, **how):
    """What restorers of a tiny network return, on the CPU and on the GPU."""
    net, mask_net = tiny_net(seed=0), tiny_mask_net()
    return [Restorer(net, Adapt(**options), device, mask_net=mask_net, precision='float32').run(image(), **how)
            for device in ('cpu', DEVICE)]


def assert_alike(cpu, gpu, tolerance=2e-3):
    assert gpu.steps == cpu.steps
    np.testing.assert_allclose(gpu.image, cpu.image, rtol=0, atol=tolerance)
    np.testing.assert_allclose(gpu.losses, cpu.losses, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize('params', ['heads', 'all', 'gains', 'input'])
@pytest.mark.parametrize('optimizer, lr', [('sgd', 1e-2), ('adam', 1e-3)])
def test_whatever_adapts_adapts_alike(params, optimizer, lr):
    aux_opt = {'type': 'Neighbor2NeighborLoss'}
    assert_alike(*on_both({'steps': 3, 'lr': lr, 'optimizer': optimizer, 'params': params, 'aux_opt': aux_opt}))


@pytest.mark.parametrize('loss', OBJECTIVES)
def test_every_objective_adapts_alike(loss):
    assert_alike(*on_both({**ADAM, 'aux_opt': {'type': loss, **OBJECTIVES[loss]}}))


@pytest.mark.parametrize('judge', ['SURELoss', 'LeftNoiseLoss'])
def test_auto_and_its_guard_choose_alike(judge):
    candidates = [{'type': name, **OBJECTIVES[name]}
                  for name in ('PhotographNoiseLoss', 'NoiseTransplantLoss', 'Neighbor2NeighborLoss')]
    guard = {'margin': 0.0, 'aux_opt': {'type': judge, **OBJECTIVES[judge]}}
    cpu, gpu = on_both({**ADAM, 'aux_opt': {'type': 'auto', 'candidates': candidates}, 'guard': guard})
    assert_alike(cpu, gpu)


@pytest.mark.parametrize('name', PRESETS)
def test_presets_restore_alike(name):
    y = image(64, 64)
    cpu, gpu = (Restorer.from_pretrained(name, device, 'float32').run(y) for device in ('cpu', DEVICE))
    assert np.abs(gpu.image - cpu.image).mean() < 1e-3


def test_learned_rates_stay_where_they_are():
    net = tiny_net(seed=0)
    rates = InnerRates(net, 0.1, steps=3)
    options = Adapt(steps=3, aux_opt={'type': 'Neighbor2NeighborLoss'})
    assert_alike(*(Restorer(net, options, device, rates, precision='float32').run(image())
                   for device in ('cpu', DEVICE)))
    assert all(rate.device.type == 'cpu' for rate in rates.parameters())


@pytest.mark.parametrize('name', precision.LOWER)
@pytest.mark.parametrize('options', [None, {**ADAM, 'aux_opt': {'type': 'Neighbor2NeighborLoss'}}],
                         ids=['un-adapted', 'adapted'])
def test_lower_precision_is_near(name, options):
    net, y = Restorer.from_pretrained('fast', 'cpu', 'float32')._net, image(256, 256)
    adapt = options and Adapt(**options)
    exact, near = (Restorer(net, adapt, DEVICE, precision=kind).run(y).image for kind in ('float32', name))
    assert 0 < np.abs(near - exact).max() < 3 / 255 and np.abs(near - exact).mean() < 0.5 / 255


def test_float16_adapts_to_a_large_image_as_float32_does():
    net, y = Restorer.from_pretrained('fast', 'cpu', 'float32')._net, image(1024, 1024)
    adapt = Adapt(**ADAM, aux_opt={'type': 'Neighbor2NeighborLoss'})
    exact, near = (Restorer(net, adapt, DEVICE, precision=kind).run(y).image for kind in ('float32', 'float16'))
    assert np.abs(near - exact).mean() < 0.5 / 255


def test_the_trial_times_a_megapixel_in_every_precision(monkeypatch):
    monkeypatch.undo()
    timed, seconds = {}, precision._seconds

    def watched(run, device):
        timed[run.args[0]] = run().shape[-1]
        return seconds(run, device)

    monkeypatch.setattr(precision, '_seconds', watched)
    chosen = Restorer.from_pretrained('fast', DEVICE).precision
    assert chosen in timed and timed == dict.fromkeys(['float32', *precision._candidates(torch.device(DEVICE))], 1024)


@pytest.mark.parametrize('options', [None, {**ADAM, 'aux_opt': {'type': 'Neighbor2NeighborLoss'}}],
                         ids=['un-adapted', 'adapted'])
@pytest.mark.parametrize('name', ['float32', 'bfloat16'])
def test_tiles_are_the_whole(options, name):
    restorer = Restorer(tiny_net(seed=0), options and Adapt(**options), DEVICE, precision=name)
    whole, tiles = (restorer.run(image(192, 224), tile=tile).image for tile in (256, 64))
    np.testing.assert_allclose(tiles, whole, rtol=0, atol=1e-3 if name == 'float32' else 2e-2)


def test_the_command_denoises(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), (255 * image()).round().astype(np.uint8))
    found = []
    for device in ('cpu', DEVICE):
        out = tmp_path / f'to-{device}'
        assert main(['denoise', str(tmp_path / 'a.png'), '-o', str(out), '--device', device]) == 0
        found.append(cv2.imread(str(out / 'a.png')).astype(float))
    assert np.abs(found[0] - found[1]).mean() < 0.5


def test_what_was_adapted_is_exported(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), (255 * image()).round().astype(np.uint8))
    found = source.of_preset('fast', DEVICE, path, guard=False, steps=2)
    assert found.step == 2 and {weight.device.type for weight in found.net.parameters()} == {'cpu'}


@pytest.fixture
def little_memory():
    """The process gets little more memory than it has."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 400 * 2 ** 20) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_less_memory_makes_smaller_tiles(little_memory):
    y, restorer = image(800, 800), Restorer.from_pretrained('fast', DEVICE, 'float32')
    restored = restorer.run(y, steps=0).image
    np.testing.assert_allclose(restored, restorer.run(y, steps=0, tile=64).image, rtol=0, atol=1e-4)
    with pytest.raises(MemoryError, match='not enough memory for tiles of 1536 pixels'):
        restorer.run(image(1600, 1600), steps=0, tile=1536)


def test_memory_that_torch_keeps_is_free():
    device = torch.device(DEVICE)
    torch.cuda.empty_cache()
    before = free_memory(device)
    torch.empty(2 ** 30, dtype=torch.uint8, device=device)
    assert torch.cuda.memory_reserved() >= 2 ** 30
    assert abs(free_memory(device) - before) < 2 ** 28


def test_tiles_take_less_memory_than_the_whole():
    restorer = Restorer.from_pretrained('fast', DEVICE, 'float32')
    y = image(1024, 1024)
    whole, tiles = (peak(lambda tile=tile: restorer.run(y, steps=0, tile=tile)) for tile in (1024, 128))
    assert tiles < whole / 2
