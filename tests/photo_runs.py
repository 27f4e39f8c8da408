"""Folders of photographs and runs over them, for the tests of what may happen to both."""

import os

import numpy as np
import torch
from PIL import Image

from maxl_sr.restorer import Restorer
from tests.helpers import tiny_net

BAD_NAME = os.fsdecode(b'caf\xe9.png')


def photograph(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 40, 3), np.uint8)).save(path)
    return path


def denoise(call, *arguments):
    return call('denoise', *arguments, '-o', 'out', '--steps', '0', '--device', 'cpu')


def tiny():
    torch.manual_seed(0)
    return Restorer(tiny_net(), None, 'cpu')


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())
