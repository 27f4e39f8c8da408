"""Images and sets of them for the tests of the data sets."""

import numpy as np
import torch

from maxl_sr.data.noise import Noise
from maxl_sr.data.synthetic_noise_dataset import SyntheticNoiseDataset

QUIET = Noise(gaussian=None, speckle=None, salt_pepper=None)


def only(**kinds):
    """Noise of these kinds alone."""
    return Noise(**{'gaussian': None, 'speckle': None, 'salt_pepper': None, **kinds})


def grey(value=0.5, size=200):
    return np.full((size, size, 3), value, np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


def clean_set(pairs, phase='val', **more):
    train = {'gt_size': 16, 'use_hflip': True, 'use_rot': True} if phase == 'train' else {}
    return SyntheticNoiseDataset({'phase': phase, 'scale': 1, 'dataroot_gt': str(pairs / 'gt'),
                                  'io_backend': {'type': 'disk'}, **train, **more})  # yapf: disable


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in ('lq', 'gt'))
