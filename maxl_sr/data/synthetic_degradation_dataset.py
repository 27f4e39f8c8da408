"""Clean images that are blurred, sub-sampled, made noisy and compressed on the fly."""

from typing import Any

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY

from maxl_sr.data.camera_noise import CameraNoise
from maxl_sr.data.clean_images import CleanImageDataset
from maxl_sr.data.degradation import Degradation, degrade
from maxl_sr.data.noise import Noise
from maxl_sr.errors import UserError
from maxl_sr.utils.options import parse


@DATASET_REGISTRY.register()
class SyntheticDegradationDataset(CleanImageDataset):
    """Pairs (degraded, clean) from clean images on disk or in an LMDB, for super-resolution and deblurring.

    See :class:`CleanImageDataset`.

    Options:
        dataroot_gt (text, required): Folder or LMDB of clean images.
        io_backend (section, required): ``type: disk``, or ``type: lmdb``.
        degradation (section, {}): What is done to the images: :class:`~maxl_sr.data.degradation.Degradation`.
        seed (integer, 0): Seed of the degradation of validation and test, which is fixed; at least 0.
        center_crop (integer or null, null): Validation and test: side of the central crop of the clean image, in
            pixels; null: the whole image.
        grey (number, 0): Share of the images that are turned to grey, noise and all, from 0 to 1.
        light (pair of numbers or null, null): Range of the factor by which the clean image is made darker or lighter
            before it is degraded.
        gt_size (integer, required in training): Side of the random square crop of the clean image, in pixels; a
            multiple of the scale.
        use_hflip (true or false, required in training): Whether images are flipped left to right at random.
        use_rot (true or false, required in training): Whether images are flipped up and down and transposed at random.
    """

    degradation_keys = ('degradation', )

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        where = f'{self.where}: degradation'
        self.degradation = parse(Degradation, opt.get('degradation') or {}, where)
        if not self.degradation.kernel_size % 2:
            raise UserError(f'{where}: kernel_size must be odd, not {self.degradation.kernel_size}')
        if self.degradation.motion is not None and self.degradation.motion[1] > self.degradation.kernel_size:
            raise UserError(f'{where}: motion must be at most kernel_size {self.degradation.kernel_size}, not '
                            f'{list(self.degradation.motion)}')
        noise = self.degradation.noise
        camera = self.degradation.camera
        kinds = (self.degradation.sigma, self.degradation.motion, self.degradation.jpeg, noise, camera)
        if self.scale == 1 and all(kind is None for kind in kinds):
            raise UserError(f'{where} leaves the images as they are; give sigma, motion, jpeg, noise or '
                            'camera, or a scale')
        self.noise = None if noise is None else parse(Noise, noise, f'{where}: noise')
        self.camera = None if camera is None else parse(CameraNoise, camera, f'{where}: camera')

    def degrade(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return degrade(clean, self.degradation, self.noise, self.scale, rng, self.camera)
