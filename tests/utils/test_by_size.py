"""What is remembered by the size of an image is bounded, but for what a CUDA graph reads."""

import gc
import weakref

import pytest
import torch

from maxl_sr.losses.blind_spot_loss import _pattern
from maxl_sr.losses.flat_noise import _draw
from maxl_sr.losses.neighbor2neighbor_loss import _choice
from maxl_sr.utils.by_size import SIZES, BySize


def test_the_last_sizes_are_remembered_and_what_a_graph_reads(monkeypatch):
    made, capturing = [], False
    monkeypatch.setattr(torch.cuda, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_current_stream_capturing', lambda: capturing)

    @BySize
    def zeros(size):
        made.append(size)
        return torch.zeros(size)

    first = zeros(1)
    assert zeros(1) is first and made == [1] and zeros.__name__ == 'zeros'
    capturing = True
    of_graph = weakref.ref(zeros(2))
    capturing = False
    gone = weakref.ref(zeros(3))
    for size in range(4, 5 + SIZES):
        zeros(size)
    gc.collect()
    assert gone() is None and of_graph() is not None
    zeros.cache_clear()
    assert zeros(5) is not None and made[-1] == 5 and of_graph() is not None


@pytest.mark.parametrize('function', [_pattern, _draw, _choice])
def test_what_objectives_remember_by_size(function):
    assert isinstance(function, BySize)
