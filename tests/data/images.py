"""Images and sets of them for the tests of the data sets."""

import cv2
import numpy as np
import torch
from basicsr.utils.lmdb_util import LmdbMaker

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
