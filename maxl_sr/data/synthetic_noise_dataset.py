"""Clean images with noise made on the fly."""

from typing import Any

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY

from maxl_sr.data.clean_images import CleanImageDataset
from maxl_sr.data.noise import Noise, add_noise
from maxl_sr.data.sections import SyntheticNoise
from maxl_sr.errors import UserError


@DATASET_REGISTRY.register()
class SyntheticNoiseDataset(CleanImageDataset):
    """Pairs (noisy, clean) from clean images on disk or in an LMDB, to which noise is added.

    See :class:`CleanImageDataset`.

    Its keys are listed in the reference of the option files, ``docs/options.md``.
    """

    section = SyntheticNoise

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.noise = self.options.noise or Noise()
        if self.scale != 1:
            raise UserError(f'{self.where}: scale must be 1, not {self.scale!r}: noise does not change the size')

    def degrade(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return add_noise(clean, self.noise, rng)
