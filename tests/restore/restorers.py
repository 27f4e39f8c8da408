"""An image and a tiny Restorer."""

import numpy as np
import torch

from maxl_sr import Restorer
from maxl_sr.settings.adaptation import Adapt
from tests.helpers import tiny_net


def image(height=60, width=72, channels=3, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    clean = np.kron(rng.random((height // 12, width // 12, channels)), np.ones((12, 12, 1)))
    noisy = (clean + rng.normal(0, 0.1, clean.shape)).clip(0, 1)
    return noisy.astype(dtype) if np.dtype(dtype).kind == 'f' else (noisy * np.iinfo(dtype).max).round().astype(dtype)


def make(options=None, scale=1):
    torch.manual_seed(0)
    net = tiny_net(scale=scale)
    return Restorer(net, Adapt(**options) if options else None, 'cpu')


ADAPTING = {'steps': 2, 'lr': 1e-2, 'aux_opt': {'type': 'BlindSpotLoss'}}
