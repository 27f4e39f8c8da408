"""PSNR and SSIM against a ground truth that has the light of the noisy image.

Between the noisy shot and the ground truth of PolyU and Nam the mean colour differs by up to 3.5 of 255. No denoiser
can know that, and it hides what denoisers differ in. Both figures belong in a table: the raw one and the matched one.
"""

import functools
from collections import OrderedDict
from typing import Any

import numpy as np
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.metrics.metric_util import reorder_image
from basicsr.models.sr_model import SRModel
from basicsr.utils import tensor2img
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from maxl_sr.errors import UserError

# Of the image that is validated: BasicSR gives metrics the restored image and the truth alone
_input: list[Tensor] = []


def matched(clean: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """Return `clean` with the channel means of `noisy`, both ``(H, W, C)`` of any range; float64.

    Raises:
        UserError: The sizes differ.
    """
    if clean.shape != noisy.shape:
        raise UserError('psnr_matched and ssim_matched compare images of the size of the input, not '
                        f'{clean.shape[1]}×{clean.shape[0]} with {noisy.shape[1]}×{noisy.shape[0]}')
    clean = clean.astype(np.float64)
    return clean + (noisy.mean((0, 1), dtype=np.float64) - clean.mean((0, 1)))


def _matched_truth(truth: np.ndarray, noisy: np.ndarray | None, border: int, order: str) -> np.ndarray:
    """`truth` without its border, as HWC, with the light of `noisy`, or of the input that is validated."""
    truth = reorder_image(truth, input_order=order)
    if noisy is None:
        if not _input:
            raise UserError('psnr_matched and ssim_matched need the noisy image: give noisy')
        noisy = tensor2img([_input[0]])
    inner = (slice(border, truth.shape[0] - border), slice(border, truth.shape[1] - border))
    return matched(truth[inner], noisy.reshape(*noisy.shape[:2], -1)[inner])


def _against_matched(metric: Any, img: np.ndarray, img2: np.ndarray, crop_border: int, noisy: np.ndarray | None,
                     input_order: str, test_y_channel: bool) -> float:
    truth = _matched_truth(img2, noisy, crop_border, input_order)
    image = reorder_image(img, input_order=input_order)
    inner = (slice(crop_border, image.shape[0] - crop_border), slice(crop_border, image.shape[1] - crop_border))
    return float(metric(image[inner].astype(np.float64), truth, crop_border=0, test_y_channel=test_y_channel))


@METRIC_REGISTRY.register()
def calculate_psnr_matched(img: np.ndarray, img2: np.ndarray, crop_border: int, noisy: np.ndarray | None = None,
                           input_order: str = 'HWC', test_y_channel: bool = False, **kwargs: Any) -> float:
    """Return BasicSR's PSNR in dB of `img` against `img2` with the channel means of the noisy image.

    Args:
        img: Restored image, 8 bits, BGR.
        img2: Ground truth, of the same size.
        crop_border: Pixels left out at every side.
        noisy: The noisy image; None: the input of the image that a model of BasicSR validates.
        input_order: 'HWC' or 'CHW'.
        test_y_channel: Whether the luma is compared.

    Raises:
        UserError: The sizes differ, or there is no noisy image.

    Examples:
        >>> grey = np.full((16, 16, 3), 100.)
        >>> round(calculate_psnr_matched(grey + 5, grey + 3, 0, noisy=grey + 4), 2)
        48.13
    """
    return _against_matched(calculate_psnr, img, img2, crop_border, noisy, input_order, test_y_channel)


@METRIC_REGISTRY.register()
def calculate_ssim_matched(img: np.ndarray, img2: np.ndarray, crop_border: int, noisy: np.ndarray | None = None,
                           input_order: str = 'HWC', test_y_channel: bool = False, **kwargs: Any) -> float:
    """Return BasicSR's SSIM of `img` against `img2` with the channel means of the noisy image.

    Arguments and errors are those of :func:`calculate_psnr_matched`.
    """
    return _against_matched(calculate_ssim, img, img2, crop_border, noisy, input_order, test_y_channel)


def _install() -> None:
    """Let BasicSR's models remember the input of the image that they validate."""
    original = SRModel.get_current_visuals

    @functools.wraps(original)
    def get_current_visuals(self: SRModel) -> 'OrderedDict[str, Tensor]':
        visuals = original(self)
        _input[:] = [visuals['lq']]
        return visuals

    SRModel.get_current_visuals = get_current_visuals


_install()
