"""Clean images with synthetic noise."""

import random

import cv2
import pytest
import torch

from maxl_sr.data.data_util import center_crop_window
from tests.data.images import clean_set, same
from tests.helpers import lmdb_of


def test_item_is_the_rgb_image_and_its_noisy_copy(make_pairs):
    pairs = make_pairs(count=1)
    item = clean_set(pairs)[0]
    clean = cv2.imread(str(pairs / 'gt/00.png'))[:, :, ::-1].transpose(2, 0, 1)
    assert torch.equal((item['gt'] * 255).round().byte(), torch.from_numpy(clean.copy()))
    assert item['lq'].shape == item['gt'].shape == (3, 32, 40)
    assert item['lq'].dtype == item['gt'].dtype == torch.float32
    assert 0 <= item['lq'].min() and item['lq'].max() <= 1
    assert 0.01 < (item['lq'] - item['gt']).std() < 0.3
    assert item['gt_path'] == item['lq_path'] == str(pairs / 'gt/00.png')


def test_training_item_is_a_crop_of_the_image(make_pairs):
    item = clean_set(make_pairs(), 'train', noise={'gaussian': None, 'speckle': None, 'salt_pepper': None})[0]
    assert item['lq'].shape == (3, 16, 16)
    assert torch.equal(item['lq'], item['gt'])


@pytest.mark.parametrize('phase', ['train', 'val'])
def test_disk_and_lmdb_give_the_same_items(make_pairs, tmp_path, phase):
    pairs = make_pairs()
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb')
    disk, lmdb = clean_set(pairs, phase), clean_set(pairs, phase, dataroot_gt=str(path), io_backend={'type': 'lmdb'})
    assert len(disk) == len(lmdb) == 4
    for index in range(4):
        items = []
        for dataset in (disk, lmdb):
            random.seed(index)
            items.append(dataset[index])
        assert same(*items)


def test_noise_of_validation_is_fixed(make_pairs):
    pairs = make_pairs()
    one, other = clean_set(pairs), clean_set(pairs)
    assert all(same(one[index], other[index]) for index in (3, 0, 1, 2))


def test_noise_of_validation_differs_from_image_to_image(make_pairs):
    pairs = make_pairs(count=2)
    (pairs / 'gt/01.png').write_bytes((pairs / 'gt/00.png').read_bytes())
    dataset = clean_set(pairs)
    assert torch.equal(dataset[0]['gt'], dataset[1]['gt']) and not torch.equal(dataset[0]['lq'], dataset[1]['lq'])


def test_another_seed_gives_other_noise(make_pairs):
    pairs = make_pairs(count=1)
    one, other = clean_set(pairs, seed=0)[0], clean_set(pairs, seed=1)[0]
    assert torch.equal(one['gt'], other['gt']) and not torch.equal(one['lq'], other['lq'])


def test_another_image_in_the_folder_does_not_change_the_noise(make_pairs):
    pairs = make_pairs(count=2)
    before = clean_set(pairs)[0]
    (pairs / 'gt/-1.png').write_bytes((pairs / 'gt/01.png').read_bytes())
    after = clean_set(pairs)
    assert after[0]['gt_path'].endswith('-1.png') and same(before, after[1])


def test_noise_of_validation_does_not_depend_on_the_folder(make_pairs):
    assert same(clean_set(make_pairs('one'))[2], clean_set(make_pairs('two'))[2])


def test_center_crop_is_the_centre(make_pairs):
    pairs = make_pairs()
    assert torch.equal(clean_set(pairs, center_crop=24)[1]['gt'], clean_set(pairs)[1]['gt'][:, 4:28, 8:32])


@pytest.mark.parametrize('size, crop, window', [
    (10, 4, (3, 7)), (11, 4, (3, 7)), (10, 3, (3, 6)), (4, 4, (0, 4)), (3, 4, (0, 3)), (7, None, (0, 7))
])  # yapf: disable
def test_center_crop_window(size, crop, window):
    assert center_crop_window(size, crop).indices(size)[:2] == window


def test_other_files_in_the_folder_are_passed_over(make_pairs):
    pairs = make_pairs()
    (pairs / 'gt/Thumbs.db').write_text('x')
    assert len(clean_set(pairs)) == 4
