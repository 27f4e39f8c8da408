"""Networks, adaptation and the command line on a GPU, beside the processor."""

import copy

import numpy as np
import pytest
import torch
from basicsr.archs import build_network

from maxl_sr import Restorer
from maxl_sr.settings.adaptation import Adapt
from tests.helpers import TINY, python
from tests.restore.restorers import image

pytestmark = pytest.mark.gpu
DEVICE = 'cuda'
NETWORKS = [{'type': 'MultiTaskNet', **TINY}, {'type': 'ParallelMultiTaskNet', **TINY},
            {'type': 'MultiTaskNet', **TINY, 'scale': 2}, {'type': 'MaskNet', 'num_feat': 4, 'num_block': 1},
            {'type': 'RIDNet', 'in_channels': 3, 'mid_channels': 16, 'out_channels': 3, 'num_block': 1,
             'img_range': 1.0},
            {'type': 'MIRNet', 'num_feat': 16, 'num_rrg': 1, 'num_msrb': 1}]
OBJECTIVES = {
    'NoiseTransplantLoss': {'flatness': 1e9}, 'BlindSpotLoss': {}, 'Neighbor2NeighborLoss': {}, 'RecorruptionLoss': {},
    'MaskedReconstructionLoss': {}, 'PhotographNoiseLoss': {}, 'RedegradationLoss': {},
    'auto': {'candidates': [{'type': 'Neighbor2NeighborLoss'}, {'type': 'BlindSpotLoss'}]},
}


@pytest.fixture(autouse=True)
def float32(monkeypatch):
    """Convolutions in float32 proper, not in TF32."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


@pytest.mark.parametrize('section', NETWORKS, ids=lambda section: section['type'])
def test_a_network_gives_what_the_processor_gives(section):
    torch.manual_seed(0)
    net = build_network(dict(section)).eval()
    x = torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        there = copy.deepcopy(net).to(DEVICE)(x.to(DEVICE)).cpu()
        torch.testing.assert_close(there, net(x), rtol=1e-4, atol=1e-4)


def shipped():
    return Restorer.from_pretrained('fast', 'cpu', 'float32')._net


@pytest.mark.parametrize('objective', OBJECTIVES)
@pytest.mark.parametrize('params', ['heads', 'all', 'gains', 'input'])
def test_adaptation_gives_what_the_processor_gives(objective, params):
    section = {'type': objective, **OBJECTIVES[objective]}
    guard = {'guard': {}} if objective == 'auto' else {}
    options = Adapt(steps=3, lr=1e-4, optimizer='sgd', params=params, aux_opt=section, **guard)
    noisy = image(96, 120)
    there, here = (Restorer(shipped(), options, device, precision='float32').run(noisy) for device in (DEVICE, 'cpu'))
    assert there.image.dtype == np.uint8
    assert np.abs(there.image.astype(int) - here.image).max() <= 1
    assert (there.image != here.image).mean() < 0.01


def test_the_preset_with_its_guard_decides_as_on_the_processor():
    noisy = image(144, 180)
    there, here = (Restorer.from_pretrained('fast', device, 'float32').run(noisy) for device in (DEVICE, 'cpu'))
    assert there.steps == here.steps
    assert np.abs(there.image.astype(int) - here.image).mean() < 0.1


@pytest.mark.parametrize('precision', ['float16', 'bfloat16', 'auto'])
def test_lower_precision_is_near(precision):
    noisy = image(96, 120)
    exact, near = (Restorer(shipped(), None, DEVICE, precision=name).run(noisy).image.astype(int)
                   for name in ('float32', precision))
    assert np.abs(exact - near).max() <= 2


def test_tiles_give_what_the_whole_image_gives():
    noisy = image(240, 300)
    restorer = Restorer(shipped(), None, DEVICE, precision='float32')
    whole, tiles = restorer.run(noisy).image.astype(int), restorer.run(noisy, tile=128).image.astype(int)
    assert np.abs(whole - tiles).max() <= 1


def test_the_command_restores_a_folder(tmp_path):
    from PIL import Image
    (tmp_path / 'in').mkdir()
    for number in range(2):
        Image.fromarray(image(96, 120, seed=number)).save(tmp_path / 'in' / f'{number}.png')
    run = python('-m', 'maxl_sr', 'denoise', tmp_path / 'in', '-o', tmp_path / 'out', '--device', DEVICE)
    assert run.returncode == 0, run.stderr
    assert len(list((tmp_path / 'out').glob('*.png'))) == 2
