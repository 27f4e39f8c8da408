"""The real photographs: figures of the input that others have measured too, and a few real iterations."""

import cv2
import numpy as np
import pytest
import yaml
from basicsr.metrics import calculate_metric

from maxl_sr import prepare
from maxl_sr.utils.packaged import find_option_file
from tests.helpers import DATA

pytestmark = pytest.mark.real_data


def input_psnr(folder):
    """Mean PSNR of the noisy images of a prepared folder, 8 bit, no border."""
    values = []
    for path in sorted((folder / 'lq').iterdir()):
        images = {'img': cv2.imread(str(path)), 'img2': cv2.imread(str(folder / 'gt' / path.name))}
        values.append(calculate_metric(images, {'type': 'calculate_psnr', 'crop_border': 0}))
    return np.mean(values), len(values)


def test_the_input_of_cc15(tmp_path):
    assert prepare.main(['nam', str(DATA / 'nam_cc15'), '-o', str(tmp_path)]) == 0
    psnr, count = input_psnr(tmp_path)
    assert count == 15 and psnr == pytest.approx(33.41, abs=0.005)


@pytest.mark.slow
def test_the_input_of_the_polyu_validation_crops(tmp_path):
    assert prepare.main(['polyu', str(DATA / 'polyu'), '-o', str(tmp_path), '--part', 'cropped', '--subset', 'val',
                         '--size', '0', '--max-shift', '0']) == 0
    psnr, count = input_psnr(tmp_path)
    assert count == 20 and psnr == pytest.approx(36.23, abs=0.005)


@pytest.mark.slow
def test_a_few_iterations_of_stage_2_on_sidd(run, tmp_path):
    data = tmp_path / 'sidd'
    assert prepare.main(['sidd', str(DATA / 'sidd_small_256'), '-o', str(data), '--size', '0', '--scenes',
                         '001']) == 0
    with open(find_option_file('cpu/stage2_mtl.yml'), encoding='utf-8') as file:
        opt = yaml.safe_load(file)
    opt['datasets']['train']['sets'] = [{'dataroot_gt': f'{data}/gt', 'dataroot_lq': f'{data}/lq',
                                         'io_backend': {'type': 'disk'}}]
    opt['datasets']['train']['gt_size'] = 32
    opt['train']['total_iter'] = 3
    opt['path'].update(pretrain_network_g=None, pretrain_network_m=None)
    del opt['val'], opt['datasets']['val']
    assert run('train', opt) == 0
