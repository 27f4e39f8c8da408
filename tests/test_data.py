"""The data sets: values by hand, noise that can be repeated, and the order of a training's batches."""

import random
from collections import Counter

import basicsr.train as basicsr_train
import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.lmdb_util import LmdbMaker

from maxl_sr.data.data_util import center_crop_window
from maxl_sr.data.mixed_paired_dataset import MixedPairedDataset
from maxl_sr.data.noise import Noise, add_noise
from maxl_sr.data.synthetic_noise_dataset import SyntheticNoiseDataset
from maxl_sr.errors import UserError
from maxl_sr.resume import seeded

QUIET = Noise(gaussian=None, speckle=None, salt_pepper=None)


def only(**kinds):
    """Noise of these kinds alone."""
    return Noise(**{'gaussian': None, 'speckle': None, 'salt_pepper': None, **kinds})


def grey(value=0.5, size=200):
    return np.full((size, size, 3), value, np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


def lmdb_of(folder, path):
    """Write the images of `folder` to an LMDB and return its path."""
    maker = LmdbMaker(str(path), map_size=2**24)
    for file in sorted(folder.iterdir()):
        maker.put(file.read_bytes(), file.stem, cv2.imread(str(file)).shape)
    maker.close()
    return path


def clean_set(pairs, phase='val', **more):
    train = {'gt_size': 16, 'use_hflip': True, 'use_rot': True} if phase == 'train' else {}
    return SyntheticNoiseDataset({'phase': phase, 'scale': 1, 'dataroot_gt': str(pairs / 'gt'),
                                  'io_backend': {'type': 'disk'}, **train, **more})  # yapf: disable


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in ('lq', 'gt'))


# --- the noise ---


def test_gaussian_has_the_deviation_asked_for():
    noise = add_noise(grey(), only(gaussian=(25, 25)), rng()) - 0.5
    assert noise.std() == pytest.approx(25 / 255, rel=0.01)
    assert abs(noise.mean()) < 0.001


def test_deviation_is_drawn_from_the_whole_range():
    drawn = [(add_noise(grey(size=60), only(gaussian=(5, 50)), rng(seed)) - 0.5).std() * 255 for seed in range(60)]
    assert 4.5 < min(drawn) < 10 and 45 < max(drawn) < 52
    assert np.mean(drawn) == pytest.approx(27.5, rel=0.15)


@pytest.mark.parametrize('value', [0.2, 0.4])
def test_speckle_is_proportional_to_the_image(value):
    noise = add_noise(grey(value), only(speckle=(50, 50)), rng()) - value
    assert noise.std() == pytest.approx(value * 50 / 255, rel=0.01)


def test_speckle_leaves_black_alone():
    assert not add_noise(grey(0), only(speckle=(50, 50)), rng()).any()


def test_salt_and_pepper_have_the_amount_and_share_asked_for():
    noisy = add_noise(grey(), only(salt_pepper=(0.2, 0.2), salt_share=(0.75, 0.75)), rng())
    assert set(np.unique(noisy)) == {0, 0.5, 1}
    assert (noisy != 0.5).mean() == pytest.approx(0.2, rel=0.03)
    assert (noisy == 1).mean() == pytest.approx(0.15, rel=0.03)


def test_null_leaves_every_kind_out():
    assert (add_noise(grey(), QUIET, rng()) == 0.5).all()


def test_order_of_the_kinds_is_random():
    # Speckle after salt and pepper spreads the salt; before it the salt is exactly 1
    kinds = only(speckle=(50, 50), salt_pepper=(0.5, 0.5), salt_share=(1, 1))
    last = sum((add_noise(grey(size=20), kinds, rng(seed)) == 1).mean() > 0.45 for seed in range(200))
    assert 70 < last < 130


def test_noise_is_clipped_and_stays_float32():
    noisy = add_noise(grey(0.9), only(gaussian=(200, 200)), rng())
    assert noisy.dtype == np.float32 and noisy.min() == 0 and noisy.max() == 1


# --- SyntheticNoiseDataset ---


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


# --- the batches of a training ---


def train_loader(pairs, ratio=1, workers=0, rank=0, world=1, size=2, resume=None, seed=3):
    """Loader and sampler as BasicSR's train pipeline makes them."""
    opt = {'name': 'x', 'type': 'SyntheticNoiseDataset', 'phase': 'train', 'scale': 1, 'dataroot_gt': str(pairs / 'gt'),
           'io_backend': {'type': 'disk'}, 'gt_size': 16, 'use_hflip': True, 'use_rot': True,
           'num_worker_per_gpu': workers, 'batch_size_per_gpu': size, 'dataset_enlarge_ratio': ratio}
    if resume is not None:
        opt['resume_from'] = {'epoch': resume[0], 'iter': resume[1], 'batch_size': size}
    dataset = build_dataset(opt)
    sampler = basicsr_train.EnlargedSampler(dataset, world, rank, ratio)
    return basicsr_train.build_dataloader(dataset, opt, num_gpu=0, dist=False, sampler=sampler, seed=seed), sampler


def batches(pairs, epochs=(0, ), **options):
    """(lq, paths) of every batch that a training draws in these epochs."""
    loader, sampler = train_loader(pairs, **options)
    found = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        found += [(batch['lq'], batch['lq_path']) for batch in loader]
    return found


def equal(one, other):
    return len(one) == len(other) and all(torch.equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(one, other))


@pytest.fixture
def pairs(make_pairs):
    return make_pairs(count=6)


def test_a_training_can_be_repeated(pairs):
    assert equal(batches(pairs, (0, 1)), batches(pairs, (0, 1)))


def test_another_seed_draws_otherwise(pairs):
    assert not equal(batches(pairs), batches(pairs, seed=4))


def test_number_of_workers_changes_nothing(pairs):
    assert equal(batches(pairs, (0, 1)), batches(pairs, (0, 1), workers=2))


def test_an_epoch_visits_every_image_once(pairs):
    names = [path for _, paths in batches(pairs) for path in paths]
    assert sorted(names) == sorted(str(path) for path in (pairs / 'gt').iterdir())


def patches(pairs, name, **options):
    """The patches of the image `name`, in the order of their visits."""
    return [lq[place] for lq, paths in batches(pairs, **options) for place, path in enumerate(paths) if name in path]


def test_every_visit_of_an_image_is_drawn_anew(pairs):
    visits = patches(pairs, '02.png', epochs=(0, 1), ratio=2)
    assert len(visits) == 4
    assert not any(torch.equal(visits[i], visits[j]) for i in range(4) for j in range(i))


def test_two_ranks_share_an_epoch(pairs):
    first, second = (batches(pairs, rank=rank, world=2, size=1) for rank in (0, 1))
    assert Counter(path for part in (first, second) for _, paths in part for path in paths) == \
        Counter(str(path) for path in (pairs / 'gt').iterdir())


def test_two_ranks_draw_differently(pairs):
    for path in (pairs / 'gt').iterdir():
        path.write_bytes((pairs / 'gt/00.png').read_bytes())
    first, second = (batches(pairs, rank=rank, world=2, size=1) for rank in (0, 1))
    assert not any(torch.equal(a[0], b[0]) for a in first for b in second)


# 6 images in batches of 2 are 3 iterations an epoch, 6 with an enlargement of 2
@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('ratio, epoch, iteration', [
    (1, 0, 1), (1, 0, 2), (1, 0, 3), (1, 1, 4), (1, 1, 6), (2, 0, 4), (2, 0, 6), (2, 1, 7),
])  # yapf: disable
def test_resumed_training_goes_on_behind_its_last_iteration(pairs, ratio, epoch, iteration, workers):
    undisturbed = batches(pairs, (0, 1, 2), ratio=ratio)
    resumed = batches(pairs, range(epoch, 3), ratio=ratio, workers=workers, resume=(epoch, iteration))
    assert equal(resumed, undisturbed[iteration:])


def test_resumed_training_whose_images_do_not_fill_the_last_batch(pairs):
    assert equal(batches(pairs, (0, 1), size=4, resume=(0, 1)), batches(pairs, (0, 1), size=4)[1:])


def test_drawing_leaves_the_global_generators_alone(pairs):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    loader = iter(train_loader(pairs)[0])  # torch seeds the workers from its generator at the start of an epoch
    before = states()
    next(loader)
    assert states() == before


# --- MixedPairedDataset ---


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
