"""Super-resolution and deblurring through the pipelines: our models, and the losses in BasicSR's own."""

import csv

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr
from basicsr.utils.matlab_functions import imresize

from tests.helpers import meta_test_options, slow, train_options

BLIND = {'sigma': [0.5, 2.0], 'downsample': 'direct'}


def degraded(pairs, scale, degradation):
    return {'type': 'SyntheticDegradationDataset', 'dataroot_gt': f'{pairs}/gt', 'io_backend': {'type': 'disk'},
            'degradation': degradation}


def options(model, pairs, scale, degradation):
    opt = train_options(model, pairs)
    opt['scale'] = scale
    opt['network_g']['scale'] = scale
    opt['datasets']['train'] = {**{k: v for k, v in opt['datasets']['train'].items() if k != 'dataroot_lq'},
                                **degraded(pairs, scale, degradation)}
    opt['datasets']['val'] = {'name': 'tiny-val', **degraded(pairs, scale, degradation)}
    return opt


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
@pytest.mark.parametrize('scale, degradation', [(2, BLIND), *slow((4, {}), (1, {'motion': [3, 9]}))])
def test_train_and_adapt(model, scale, degradation, make_pairs, run, tmp_path):
    pairs = make_pairs(count=3, height=33, width=42)
    assert run('train', options(model, pairs, scale, degradation)) == 0
    opt = meta_test_options(pairs, tmp_path / 'experiments/tiny/models')
    opt['scale'] = scale
    opt['network_g']['scale'] = scale
    opt['datasets'] = {'test_1': {'name': 'tiny', **degraded(pairs, scale, degradation)}}
    opt['val']['save_img'] = True
    opt['val']['metrics']['psnr']['test_y_channel'] = True
    assert run('test', opt) == 0
    with open(tmp_path / 'results/tiny_test/tiny.csv') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and float(rows[0]['psnr_before']) > 10
    assert ('psnr_noisy' in rows[0]) == (degradation.get('downsample') != 'direct')
    if scale == 4:  # the figure of the bicubic enlargement
        pictures = tmp_path / 'results/tiny_test/visualization/tiny'
        lq, gt = (cv2.imread(str(pictures / f"{rows[0]['image']}_{kind}.png")) for kind in ('noisy', 'gt'))
        enlarged = np.clip(np.round(imresize(lq / 255, scale) * 255), 0, 255)
        expected = calculate_psnr(enlarged, gt, crop_border=0, test_y_channel=True)
        assert float(rows[0]['psnr_noisy']) == pytest.approx(expected, abs=0.3)  # but for the borders


@pytest.mark.parametrize('loss', [{'type': 'MaskedReconstructionLoss', 'fixed_mask': 'edges'},
                                  {'type': 'TwoDirectionGradientLoss'}])
def test_the_losses_in_a_model_of_the_toolbox(loss, make_pairs, run, tmp_path):
    opt = options('MetaTransferModel', make_pairs(), 4, {})
    opt['model_type'] = 'SRModel'
    opt['network_g'] = {'type': 'MSRResNet', 'num_feat': 8, 'num_block': 1, 'upscale': 4}
    del opt['network_m'], opt['train']['aux_opt'], opt['train']['inner'], opt['val']['adapt'], opt['train']['optim_m']
    trained = []
    for name, pixel_opt in (('own', loss), ('plain', {'type': 'L1Loss'})):
        opt['name'], opt['train']['pixel_opt'] = name, pixel_opt
        assert run('train', opt) == 0
        saved = torch.load(tmp_path / f'experiments/{name}/models/net_g_latest.pth')['params']
        trained.append(torch.cat([weight.flatten() for weight in saved.values()]))
    assert torch.isfinite(trained[0]).all() and not torch.equal(*trained)


@pytest.mark.parametrize('top, own', [(2, 1), (1, 2), (4, 3)])
def test_a_network_of_another_scale_is_refused(top, own, make_pairs, run, capfd):
    opt = options('MAXLModel', make_pairs(), top, {'sigma': [1, 2]})
    opt['network_g']['scale'] = own
    assert run('train', opt) == 2
    assert f'({32 * own}, {32 * own}) pixels of (32, 32), which does not fit scale: {top}' in capfd.readouterr().err


def test_images_too_small_for_the_scale_are_refused(make_pairs, run, capfd):
    opt = options('MAXLModel', make_pairs(height=18), 4, {})
    opt['datasets']['val'].update(degraded(make_pairs('small', count=1, height=15), 4, {}))
    assert run('train', opt) == 2
    assert '(40×15) is too small for scale 4: it must have at least 16 pixels' in capfd.readouterr().err
