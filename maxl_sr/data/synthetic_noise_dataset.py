"""Clean images with noise made on the fly."""

from typing import Any

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY

from maxl_sr.data.clean_images import CleanImageDataset
from maxl_sr.data.noise import Noise, add_noise
from maxl_sr.errors import UserError
from maxl_sr.utils.options import parse


@DATASET_REGISTRY.register()
class SyntheticNoiseDataset(CleanImageDataset):
    """Pairs (noisy, clean) from clean images on disk or in an LMDB; see :class:`CleanImageDataset`.

    Options:
        dataroot_gt: Folder or LMDB of clean images.
        io_backend: ``type: disk`` or ``type: lmdb``.
        noise: See :class:`maxl_sr.data.noise.Noise`.
        seed: Seed of the fixed noise; default 0.
        center_crop: Size of the central crop in validation and test; default the whole image.
        gt_size, use_hflip, use_rot: Crop and augmentation in training, as in BasicSR.
    """

    degradation_keys = ('noise', )

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.noise = parse(Noise, opt.get('noise') or {}, f'{self.where}: noise')
        if self.scale != 1:
            raise UserError(f'{self.where}: scale must be 1, not {self.scale!r}: noise does not change the size')

    def degrade(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return add_noise(clean, self.noise, rng)
