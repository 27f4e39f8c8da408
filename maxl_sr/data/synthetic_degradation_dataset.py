"""Clean images that are blurred, sub-sampled, made noisy and compressed on the fly."""

from typing import Any

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY

from maxl_sr.data.clean_images import CleanImageDataset
from maxl_sr.data.degradation import Degradation, degrade
from maxl_sr.data.sections import SyntheticDegradation
from maxl_sr.errors import UserError


@DATASET_REGISTRY.register()
class SyntheticDegradationDataset(CleanImageDataset):
    """Pairs (degraded, clean) from clean images on disk or in an LMDB, for super-resolution and deblurring.

    See :class:`CleanImageDataset`.

    Its keys are listed in the reference of the option files, ``docs/options.md``.
    """

    section = SyntheticDegradation

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        where = f'{self.where}: degradation'
        self.degradation = self.options.degradation or Degradation()
        if not self.degradation.kernel_size % 2:
            raise UserError(f'{where}: kernel_size must be odd, not {self.degradation.kernel_size}')
        if self.degradation.motion is not None and self.degradation.motion[1] > self.degradation.kernel_size:
            raise UserError(f'{where}: motion must be at most kernel_size {self.degradation.kernel_size}, not '
                            f'{list(self.degradation.motion)}')
        self.noise, self.camera = self.degradation.noise, self.degradation.camera
        kinds = (self.degradation.sigma, self.degradation.motion, self.degradation.jpeg, self.noise, self.camera)
        if self.scale == 1 and all(kind is None for kind in kinds):
            raise UserError(f'{where} leaves the images as they are; give sigma, motion, jpeg, noise or '
                            'camera, or a scale')

    def degrade(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return degrade(clean, self.degradation, self.noise, self.scale, rng, self.camera)
