"""Several sets of pairs as one."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset

from maxl_sr.data.mixed_paired_dataset import MixedPairedDataset
from maxl_sr.errors import UserError
from maxl_sr.utils.seeding import seeded
from tests.data.images import clean_set, same
from tests.helpers import lmdb_of


def section(pairs, **more):
    return {'dataroot_gt': str(pairs / 'gt'), 'dataroot_lq': str(pairs / 'lq'), 'io_backend': {'type': 'disk'}, **more}


def mixed(*sets):
    return MixedPairedDataset({'phase': 'train', 'scale': 1, 'gt_size': 16, 'use_hflip': True, 'use_rot': True,
                               'sets': list(sets)})


def by_name(dataset):
    return {item['gt_path']: item for item in (dataset[index] for index in range(len(dataset)))}


def test_sets_of_very_different_size_are_drawn_equally_often(make_pairs):
    dataset = mixed(section(make_pairs('small', count=2)), section(make_pairs('large', count=11)))
    assert len(dataset) == 22
    with seeded(0):
        epochs = [[dataset[index]['gt_path'] for index in range(22)] for _ in range(20)]
    for drawn in epochs:
        assert sum('small' in path for path in drawn) == sum('large' in path for path in drawn) == 11
        assert len({path for path in drawn if 'large' in path}) == 11
    small = Counter(path for drawn in epochs for path in drawn if 'small' in path)
    # 220 draws of two images with the same probability: the standard deviation of a count is 7.4
    assert len(small) == 2 and all(abs(count - 110) < 30 for count in small.values())


def test_by_image_an_epoch_visits_every_image_once(make_pairs):
    sets = [section(make_pairs(name, count=count)) for name, count in (('a', 2), ('b', 1), ('c', 4))]
    dataset = MixedPairedDataset({'phase': 'train', 'scale': 1, 'gt_size': 16, 'use_hflip': False, 'use_rot': False,
                                  'sets': sets, 'by': 'image'})
    drawn = [dataset[index]['gt_path'] for index in range(len(dataset))]
    assert len(drawn) == len(set(drawn)) == 7
    with pytest.raises(UserError, match='by'):
        MixedPairedDataset({'phase': 'train', 'scale': 1, 'gt_size': 16, 'use_hflip': False, 'use_rot': False,
                            'sets': sets, 'by': 'scene'})


def test_one_set_equals_the_paired_data_set_of_basicsr(make_pairs):
    options = {'phase': 'val', 'scale': 1, **section(make_pairs())}
    ours = by_name(MixedPairedDataset(options))
    theirs = by_name(PairedImageDataset({**options, 'io_backend': {'type': 'disk'}}))
    assert ours.keys() == theirs.keys()
    for path, item in ours.items():
        assert same(item, theirs[path]) and item['lq_path'] == theirs[path]['lq_path']


def test_images_come_in_the_order_of_their_names(make_pairs):
    dataset = MixedPairedDataset({'phase': 'val', 'scale': 1, **section(make_pairs(count=9))})
    names = [item['gt_path'] for item in (dataset[index] for index in range(9))]
    assert names == sorted(names)


def test_training_crops_and_turns_both_of_a_pair_alike(make_pairs):
    pairs = make_pairs(count=1)
    (pairs / 'lq/00.png').write_bytes((pairs / 'gt/00.png').read_bytes())
    dataset = mixed(section(pairs))
    items = [dataset[0] for _ in range(8)]
    assert all(item['gt'].shape == (3, 16, 16) and torch.equal(item['gt'], item['lq']) for item in items)


def test_lmdb_and_disk_mixed(make_pairs, tmp_path):
    one, two = make_pairs('one'), make_pairs('two')
    lmdb = {'dataroot_gt': str(lmdb_of(one / 'gt', tmp_path / 'gt.lmdb')),
            'dataroot_lq': str(lmdb_of(one / 'lq', tmp_path / 'lq.lmdb')), 'io_backend': {'type': 'lmdb'}}
    dataset = mixed(lmdb, section(two))
    assert len(dataset) == 8
    for index in range(4):  # the two folders hold the same pictures
        with seeded(index):
            one = dataset[2 * index]
        with seeded(index):
            assert same(one, dataset[2 * index + 1])


def test_several_sets_are_refused_in_validation(make_pairs):
    options = {'phase': 'val', 'scale': 1, 'sets': [section(make_pairs())]}
    with pytest.raises(UserError, match='sets are for training; call the data sets val_1, val_2'):
        MixedPairedDataset(options)


@pytest.mark.parametrize('scale', [1, 2])
def test_center_crop_of_a_pair(tmp_path, scale):
    for kind, factor in (('lq', 1), ('gt', scale)):
        (tmp_path / kind).mkdir()
        image = np.zeros((10 * factor, 21 * factor, 3), np.uint8)
        image[3 * factor:7 * factor, 8 * factor:12 * factor] = 200  # the central 4×4 pixels of the input
        cv2.imwrite(str(tmp_path / kind / '0.png'), image)
    item = MixedPairedDataset({'phase': 'val', 'scale': scale, 'center_crop': 4, **section(tmp_path)})[0]
    assert item['lq'].shape == (3, 4, 4) and item['gt'].shape == (3, 4 * scale, 4 * scale)
    assert (item['lq'] == 200 / 255).all() and (item['gt'] == 200 / 255).all()


def test_unreadable_image_of_a_pair_is_named(make_pairs):
    pairs = make_pairs()
    dataset = mixed(section(pairs))
    (pairs / 'lq/02.png').write_text('no picture')
    with pytest.raises(UserError, match='cannot read the image .*lq/02.png'):
        dataset[2]


def test_two_data_sets_can_share_an_lmdb(make_pairs, tmp_path):
    path = lmdb_of(make_pairs() / 'gt', tmp_path / 'gt.lmdb')
    one, other = (clean_set(tmp_path, dataroot_gt=str(path), io_backend={'type': 'lmdb'}, seed=seed) for seed in (0, 1))
    assert torch.equal(one[0]['gt'], other[0]['gt'])


def test_clean_images_with_synthetic_noise_among_the_sets(make_pairs):
    pairs = make_pairs()
    clean = {'type': 'SyntheticDegradationDataset', 'dataroot_gt': str(pairs / 'gt'), 'io_backend': {'type': 'disk'},
             'degradation': {'camera': {'shot': [1e-3, 1e-2]}}}
    dataset = mixed(section(pairs), clean)
    items = [dataset[index] for index in range(len(dataset))]
    assert len(items) == 8 and all(item['lq'].shape == item['gt'].shape == (3, 16, 16) for item in items)
    assert all((item['lq'] != item['gt']).any() for item in items[1::2])


def test_a_set_with_other_noise(make_pairs):
    dataset = mixed(section(make_pairs(), augment={'noise_scale': [0, 0], 'resize': [0.8, 1.2]}))
    items = [dataset[index] for index in range(4)]
    assert all(item['gt'].shape == (3, 16, 16) and torch.equal(item['lq'], item['gt']) for item in items)


@pytest.mark.parametrize('extra, message', [
    ({'augment': {'noise': [1, 2]}}, r"sets\[0\]: augment: unknown key 'noise'; did you mean 'noise_scale'"),
    ({'augment': {'resize': [0, 1]}}, r'sets\[0\]: augment: resize must be greater than 0'),
    ({'type': 'SyntheticNoise'}, r"sets\[0\]: type: unknown name 'SyntheticNoise'; did you mean 'SyntheticNoiseDat"),
    ({'type': 'SyntheticNoiseDataset'}, r"unknown key 'dataroot_lq'"),
])
def test_wrong_options_of_a_set_are_refused(make_pairs, extra, message):
    with pytest.raises(UserError, match=message):
        mixed(section(make_pairs(), **extra))
