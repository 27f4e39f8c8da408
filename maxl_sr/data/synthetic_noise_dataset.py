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
    """Pairs (noisy, clean) from clean images on disk or in an LMDB, to which noise is added.

    See :class:`CleanImageDataset`.

    Options:
        dataroot_gt (text, required): Folder or LMDB of clean images.
        io_backend (section, required): ``type: disk``, or ``type: lmdb``.
        noise (section, {}): Kinds of noise and their strengths, :class:`~maxl_sr.data.noise.Noise`.
        seed (integer, 0): Seed of the noise of validation and test, which is fixed; at least 0.
        center_crop (integer or null, null): Validation and test: side of the central crop of the clean image, in
            pixels; null: the whole image.
        grey (number, 0): Share of the images that are turned to grey, noise and all, from 0 to 1.
        light (pair of numbers or null, null): Range of the factor by which the clean image is made darker or lighter
            before it is degraded.
        gt_size (integer, required in training): Side of the random square crop of the clean image, in pixels.
        use_hflip (true or false, required in training): Whether images are flipped left to right at random.
        use_rot (true or false, required in training): Whether images are flipped up and down and transposed at random.
    """

    degradation_keys = ('noise', )

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.noise = parse(Noise, opt.get('noise') or {}, f'{self.where}: noise')
        if self.scale != 1:
            raise UserError(f'{self.where}: scale must be 1, not {self.scale!r}: noise does not change the size')

    def degrade(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return add_noise(clean, self.noise, rng)
