"""BM3D and non-local means, by the libraries that have them."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from maxl_sr.errors import UserError
from maxl_sr.yardsticks.method import Cost


def library(name: str, package: str) -> ModuleType:
    """Return an optional library.

    Raises:
        UserError: It is not installed; the message says how to.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f'this method needs {package}: pip install {package}') from error


def is_grey(image: np.ndarray) -> bool:
    """Whether the channels ``(H, W, 3)`` are equal."""
    return bool((image == image[..., :1]).all())


class _Classical(ABC):
    """A method without weights, with a strength."""

    chosen = True

    def __init__(self, settings: Sequence[float] | None) -> None:
        self.settings: Sequence[float] = list(settings or self.defaults)

    defaults: Sequence[float] = ()

    def cost(self) -> Cost:
        return Cost()

    @abstractmethod
    def restore(self, image: np.ndarray, setting: float) -> np.ndarray:
        """Return the image restored at one strength."""

    def results(self, image: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        for setting in self.settings:
            yield setting, self.restore(image, setting)


class BM3D(_Classical):
    """BM3D (Dabov et al. 2007; the package ``bm3d`` of its authors) for white noise; settings: σ in 1/255."""

    name = 'BM3D'
    defaults = (5, 10, 15, 25, 50)

    def __init__(self, settings: Sequence[float] | None = None) -> None:
        super().__init__(settings)
        self._bm3d: Any = library('bm3d', 'bm3d')

    def restore(self, image: np.ndarray, setting: float) -> np.ndarray:
        noisy = image.astype(np.float64) / 255
        if is_grey(image):
            grey: np.ndarray = self._bm3d.bm3d(noisy[..., 0], setting / 255)
            return np.repeat(grey.reshape(*image.shape[:2], 1), 3, axis=2)
        restored: np.ndarray = self._bm3d.bm3d_rgb(noisy, setting / 255)
        return restored


class NonLocalMeansOpenCV(_Classical):
    """Non-local means of OpenCV (``fastNlMeansDenoisingColored``); settings: its strength h."""

    name = 'non-local means, OpenCV'
    defaults = (3, 5, 7, 10, 15, 20, 30)

    def restore(self, image: np.ndarray, setting: float) -> np.ndarray:
        if is_grey(image):
            grey = cv2.fastNlMeansDenoising(np.ascontiguousarray(image[..., 0]), None, setting)
            return np.repeat(grey[..., None], 3, axis=2) / 255
        bgr = np.ascontiguousarray(image[..., ::-1])
        restored: np.ndarray = cv2.fastNlMeansDenoisingColored(bgr, None, setting, setting)[..., ::-1] / 255
        return restored


class NonLocalMeansSkimage(_Classical):
    """Non-local means of scikit-image; settings: its strength h in 1/255."""

    name = 'non-local means, scikit-image'
    defaults = (3, 5, 7, 10, 15, 20, 30)

    def __init__(self, settings: Sequence[float] | None = None) -> None:
        super().__init__(settings)
        self._restoration: Any = library('skimage.restoration', 'scikit-image')

    def restore(self, image: np.ndarray, setting: float) -> np.ndarray:
        noisy = image.astype(np.float32) / 255
        how: dict[str, Any] = dict(h=setting / 255, patch_size=5, patch_distance=6, fast_mode=True)
        if is_grey(image):
            grey = self._restoration.denoise_nl_means(noisy[..., 0], **how)
            return np.repeat(grey[..., None], 3, axis=2)
        restored: np.ndarray = self._restoration.denoise_nl_means(noisy, channel_axis=-1, **how)
        return restored
