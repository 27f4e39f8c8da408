"""Blur, sub-sampling, noise and compression, and the data set that makes them on the fly."""

import math

import cv2
import numpy as np
import pytest
import torch
from basicsr.utils.matlab_functions import imresize

from maxl_sr.data.degradation import Degradation, degrade, motion_kernel, random_kernel
from maxl_sr.data.synthetic_degradation_dataset import SyntheticDegradationDataset
from maxl_sr.errors import UserError
from tests.helpers import photograph, python


def image(size=48):
    return photograph(0, size, size).astype(np.float32) / 255


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize('length, angle', [(1, 0.3), (5, 0), (9, math.pi / 2), (12.5, 0.7)])
def test_a_motion_kernel_is_a_straight_path(length, angle):
    kernel = motion_kernel(15, length, angle)
    assert kernel.shape == (15, 15) and kernel.sum() == pytest.approx(1) and kernel.min() >= 0
    at = np.arange(15) - 7
    rows, columns = (kernel.sum(axis) @ at for axis in (1, 0))
    assert abs(rows) < 1e-9 and abs(columns) < 1e-9  # it leaves the image where it is
    spread = sum((kernel * np.add.outer(a, b) ** 2).sum() for a, b in
                 ((at * math.sin(angle), at * math.cos(angle)), ))  # along the path
    across = (kernel * np.add.outer(at * math.cos(angle), -at * math.sin(angle)) ** 2).sum()
    assert spread == pytest.approx((length - 1) ** 2 / 12, abs=0.35) and across < 0.35


def test_a_horizontal_motion_by_hand():
    np.testing.assert_allclose(motion_kernel(5, 3, 0)[2], [0, 0.25, 0.5, 0.25, 0], atol=0.01)


def test_gaussian_kernels_have_the_width_asked_for():
    at = np.arange(21) - 10
    for isotropic in (1.0, 0.0):
        setting = Degradation(sigma=(1.5, 1.5), isotropic_share=isotropic)
        kernel = random_kernel(setting, rng())
        assert kernel.sum() == pytest.approx(1)
        assert (kernel.sum(0) @ at ** 2) == pytest.approx(1.5 ** 2, rel=0.01)
    wide = [random_kernel(Degradation(sigma=(0.5, 4.0), isotropic_share=0.0), rng(seed)) for seed in range(8)]
    assert any(abs(k.sum(0) @ at ** 2 - k.sum(1) @ at ** 2) > 1 for k in wide)


def test_the_blur_is_a_convolution_with_the_kernel(monkeypatch):
    point = np.zeros((31, 31, 3), np.float32)
    point[15, 15] = 1
    kernel = rng().random((11, 11)) / 60.5
    monkeypatch.setattr('maxl_sr.data.degradation.random_kernel', lambda degradation, rng: kernel)
    blurred = degrade(point, Degradation(), None, 1, rng())
    np.testing.assert_allclose(blurred[10:21, 10:21, 0], kernel, atol=1e-6)


def test_sub_sampling():
    clean = image()
    np.testing.assert_allclose(degrade(clean, Degradation(), None, 2, rng()), np.clip(imresize(clean, 0.5), 0, 1))
    np.testing.assert_array_equal(degrade(clean, Degradation(downsample='direct'), None, 3, rng()), clean[::3, ::3])
    np.testing.assert_array_equal(degrade(clean, Degradation(), None, 1, rng()), clean)


def test_compression_of_the_quality_asked_for():
    clean = image()
    low, high = (np.abs(degrade(clean, Degradation(jpeg=(q, q)), None, 1, rng()) - clean).mean() for q in (10, 95))
    assert 0 < high < low
    encoded = cv2.imencode('.jpg', clean * 255., [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    expected = cv2.imdecode(encoded, 1).astype(np.float32) / 255
    np.testing.assert_array_equal(degrade(clean, Degradation(jpeg=(50, 50)), None, 1, rng()), expected)


ALL = {'sigma': [0.5, 2.0], 'motion': [3, 9], 'jpeg': [60, 95],
       'noise': {'gaussian': [1, 10], 'speckle': None, 'salt_pepper': None}}


def dataset(pairs, phase='val', scale=2, degradation=ALL, **more):
    train = {'gt_size': 16, 'use_hflip': True, 'use_rot': True} if phase == 'train' else {}
    return SyntheticDegradationDataset({'phase': phase, 'scale': scale, 'dataroot_gt': str(pairs / 'gt'),
                                        'io_backend': {'type': 'disk'}, 'degradation': degradation, **train, **more})


@pytest.mark.parametrize('scale', [1, 2, 3, 4])
@pytest.mark.parametrize('downsample', ['bicubic', 'direct'])
def test_sizes_fit_the_scale(scale, downsample, make_pairs):
    pairs = make_pairs(height=33, width=41)
    item = dataset(pairs, scale=scale, degradation={**ALL, 'downsample': downsample})[0]
    assert item['lq'].shape == (3, 33 // scale, 41 // scale)
    assert item['gt'].shape == (3, 33 // scale * scale, 41 // scale * scale)
    train = dataset(pairs, 'train', scale, gt_size=12)
    assert train[0]['lq'].shape == (3, 12 // scale, 12 // scale) and train[0]['gt'].shape == (3, 12, 12)


def test_validation_is_fixed_by_the_seed_and_training_is_not(make_pairs):
    pairs = make_pairs()
    one, two = dataset(pairs)[1], dataset(pairs)[1]
    assert torch.equal(one['lq'], two['lq'])
    assert not torch.equal(one['lq'], dataset(pairs, seed=1)[1]['lq'])
    assert not torch.equal(dataset(pairs)[0]['lq'], dataset(pairs)[1]['lq'])
    state = np.random.get_state()[1].copy()
    dataset(pairs)[0]
    assert np.array_equal(np.random.get_state()[1], state)  # the global generators are as they were
    train = dataset(pairs, 'train')
    assert not torch.equal(train[0]['lq'], train[0]['lq'])


@pytest.mark.parametrize('degradation, message', [
    ({'sigmas': [1, 2]}, "degradation: unknown key 'sigmas'; did you mean 'sigma'"),
    ({'sigma': [0, 2]}, 'degradation: sigma must be greater than 0'),
    ({'kernel_size': 8}, 'kernel_size must be odd, not 8'),
    ({'motion': [3, 30]}, 'motion must be at most kernel_size 21'),
    ({'isotropic_share': 2}, 'isotropic_share must be at most 1'), ({'jpeg': [0, 50]}, 'jpeg must be at least 1'),
    ({'downsample': 'nearest'}, 'downsample must be one of bicubic, direct'),
    ({'noise': {'gausian': [1, 2]}}, "noise: unknown key 'gausian'"),
])
def test_wrong_options_are_refused(degradation, message, make_pairs):
    with pytest.raises(UserError, match=message):
        dataset(make_pairs(), degradation=degradation)


def test_a_degradation_that_does_nothing_is_refused(make_pairs):
    with pytest.raises(UserError, match='degradation leaves the images as they are'):
        dataset(make_pairs(), scale=1, degradation={'downsample': 'direct'})


def test_a_crop_that_does_not_fit_the_scale_is_refused(make_pairs):
    with pytest.raises(UserError, match='gt_size must be a multiple of scale 3, not 16'):
        dataset(make_pairs(), 'train', 3)


def test_in_validation_the_image_is_what_a_file_would_hold(make_pairs):
    opt = {'phase': 'val', 'scale': 2, 'dataroot_gt': f'{make_pairs()}/gt', 'io_backend': {'type': 'disk'}, 'name': 'x',
           'degradation': {'sigma': [1, 1]}}
    lq = SyntheticDegradationDataset(opt)[0]['lq'] * 255
    assert torch.allclose(lq, lq.round(), atol=1e-4) and len(lq.round().unique()) > 10


def test_opencv_does_not_warn_of_the_jpeg_compression():
    done = python('-c', 'import numpy as np, maxl_sr.register; from maxl_sr.data.degradation import compress; '
                  'compress(np.full((8, 8, 3), 0.5, np.float32), (50, 50), (1, 1), np.random.default_rng(0))')
    assert (done.returncode, done.stderr) == (0, '')
