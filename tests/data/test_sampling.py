"""What a training draws: repeatable, each image once an epoch, each visit anew."""

import random
from collections import Counter

import basicsr.train as basicsr_train
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset


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
@pytest.mark.slow
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
