"""Draws that depend on what they are seeded with alone."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_lock = threading.RLock()  # BasicSR's prefetching draws items in two threads at the start


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Seed ``random``, NumPy and torch (CPU) from `entropy`, and put their states back afterwards."""
    words = np.random.SeedSequence(entropy).generate_state(3)
    with _lock:
        states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
        random.seed(int(words[0]))
        np.random.seed(words[1])
        torch.default_generator.manual_seed(int(words[2]))
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.default_generator.set_state(states[2])
