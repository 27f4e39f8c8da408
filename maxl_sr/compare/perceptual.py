"""LPIPS (Zhang et al., CVPR 2018), where it can be had."""

import contextlib
import sys
import warnings
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

Distance = Callable[[np.ndarray, np.ndarray], float]


def lpips_distance() -> Distance | None:
    """Return LPIPS of AlexNet between two images, BGR uint8; None where it is not installed or has no weights."""
    try:
        import lpips
    except ImportError:
        return None
    from maxl_sr.yardsticks.networks import tensor_of

    try:
        # torchvision warns of an argument, and says on standard output, where the table goes, what it fetches
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter('ignore')
            net = lpips.LPIPS(net='alex', verbose=False).eval()
    except Exception as error:  # torchvision fetches them the first time, and unpickles whatever there is
        told = (str(error).splitlines() or [type(error).__name__])[0]
        tqdm.write(f'note: LPIPS is left out, since the weights of AlexNet cannot be fetched or read: {told}',
                   file=sys.stderr)
        return None

    def distance(image: np.ndarray, clean: np.ndarray) -> float:
        return float(net(*(tensor_of(part[..., ::-1]) * 2 - 1 for part in (image, clean))).item())

    return distance
