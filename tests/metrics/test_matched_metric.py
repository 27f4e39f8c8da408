"""PSNR and SSIM against a ground truth of the noisy image's light."""

import math

import numpy as np
import pytest
from basicsr.metrics import calculate_metric, calculate_psnr, calculate_ssim

from maxl_sr.errors import UserError
from maxl_sr.metrics import matched_metric
from maxl_sr.metrics.matched_metric import matched
from tests.helpers import meta_test_options, train_options

METRICS = {f'{name}{kind}': {'type': f'calculate_{name}{kind}', 'crop_border': 0}
           for name in ('psnr', 'ssim') for kind in ('', '_matched')}


def images(seed=0, height=24, width=32):
    rng = np.random.default_rng(seed)
    return [rng.integers(40, 200, (height, width, 3)).astype(np.uint8) for _ in range(3)]


def test_by_hand():
    grey = np.full((16, 16, 3), 100.)
    # Truth 103 with the mean of the noisy image is 104; the restored image is 105
    value = calculate_metric(dict(img=grey + 5, img2=grey + 3, noisy=grey + 4),
                             dict(type='calculate_psnr_matched', crop_border=0))
    assert value == pytest.approx(20 * math.log10(255))


@pytest.mark.parametrize('name', ['psnr', 'ssim'])
@pytest.mark.parametrize('border', [0, 3])
@pytest.mark.parametrize('luma', [False, True])
def test_equal_to_the_plain_metric_of_a_matched_truth(name, border, luma):
    restored, truth, noisy = images()
    inner = slice(border, -border or None)
    by_hand = truth[inner, inner].astype(float)
    for channel in range(3):
        by_hand[..., channel] += noisy[inner, inner, channel].mean() - by_hand[..., channel].mean()
    plain = {'psnr': calculate_psnr, 'ssim': calculate_ssim}[name]
    expected = plain(restored[inner, inner].astype(float), by_hand, 0, test_y_channel=luma)
    value = calculate_metric(dict(img=restored, img2=truth, noisy=noisy),
                             dict(type=f'calculate_{name}_matched', crop_border=border, test_y_channel=luma))
    assert value == pytest.approx(expected, rel=1e-12)


def test_a_change_of_light_does_not_count():
    restored, truth, noisy = images()
    opt = dict(type='calculate_psnr_matched', crop_border=0)
    for shift in (np.array([0, 0, 0]), np.array([9., -4., 2.])):
        value = calculate_metric(dict(img=restored, img2=truth + shift, noisy=noisy), opt)
        assert value == pytest.approx(calculate_metric(dict(img=restored, img2=truth, noisy=noisy), opt), rel=1e-9)


def test_other_sizes_and_no_noisy_image_are_refused(monkeypatch):
    restored, truth, noisy = images()
    with pytest.raises(UserError, match='of the size of the input, not 32×24 with 16×12'):
        matched(truth, noisy[:12, :16])
    monkeypatch.setattr(matched_metric, '_input', [])
    with pytest.raises(UserError, match='need the noisy image'):
        calculate_metric(dict(img=restored, img2=truth), METRICS['psnr_matched'])


@pytest.mark.parametrize('adapt', [True, False])
def test_in_a_test_of_a_model(adapt, run, make_pairs, tmp_path):
    pairs = make_pairs()
    assert run('train', train_options('MetaTransferModel', pairs)) == 0
    opt = meta_test_options(pairs, tmp_path / 'experiments/tiny/models')
    opt['val']['metrics'] = METRICS
    if not adapt:
        del opt['val']['adapt'], opt['network_m'], opt['path']['pretrain_network_m']
        opt['model_type'] = 'SRModel'
        opt['val']['save_img'] = True
    assert run('test', opt) == 0
    if adapt:
        import csv
        with open(tmp_path / 'results/tiny_test/tiny.csv') as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 4
        for row in rows:  # noise of mean 0 hardly changes the means
            for name in ('psnr_matched_noisy', 'psnr_matched_before', 'psnr_matched_step2', 'ssim_matched_before'):
                plain = float(row[name.replace('_matched', '')])
                assert plain != float(row[name]) and float(row[name]) == pytest.approx(plain, abs=0.5)
        return
    import cv2
    log = next((tmp_path / 'results/tiny_test').glob('test_*.log')).read_text()
    values = []
    for number in range(4):
        restored = cv2.imread(str(tmp_path / f'results/tiny_test/visualization/tiny/{number:02d}_tiny_test.png'))
        truth, noisy = (cv2.imread(str(pairs / kind / f'{number:02d}.png')) for kind in ('gt', 'lq'))
        values.append(calculate_psnr(restored, matched(truth, noisy), 0))
    assert f'# psnr_matched: {np.mean(values):.4f}' in log
