"""What the program chooses for the machine it runs on."""

import ctypes
import functools
import os
import re
import sys
from pathlib import Path

import psutil
import torch

from maxl_sr.errors import UserError

_CGROUPS = ((Path('/sys/fs/cgroup'), 'memory.max', 'memory.current'),
            (Path('/sys/fs/cgroup/memory'), 'memory.limit_in_bytes', 'memory.usage_in_bytes'))
# mallopt's parameters (glibc, malloc.h)
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@functools.cache
def keep_freed_memory() -> bool:
    """Let glibc keep what torch frees on a CPU, instead of giving it back and faulting it in again at every operation.

    Returns whether it did: not where the user has chosen by ``MALLOC_…`` or another allocator is at work.
    """
    chosen = any(name.startswith('MALLOC_') or name == 'LD_PRELOAD' for name in os.environ)
    if chosen or not sys.platform.startswith('linux'):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def find_device(name: str) -> torch.device:
    """Return the device of that name; 'auto': a GPU where there is one.

    Raises:
        UserError: It is unknown to torch, or not there.
    """
    try:
        device = torch.device(('cuda' if torch.cuda.is_available() else 'cpu') if name == 'auto' else name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f'device {name!r} is unknown to torch, or not there') from error
    return device


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the memory format in which convolutions of few channels are fastest: channels last on a CPU."""
    return torch.channels_last if device.type == 'cpu' else torch.contiguous_format


def free_memory(device: torch.device) -> int:
    """Return the bytes that this process can count on: on a GPU what is free, of the host's memory its share."""
    if device.type == 'cuda':
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # freed, for torch to use again
        return torch.cuda.mem_get_info(device)[0] + kept
    free = psutil.virtual_memory().available
    for folder, limit, used in _CGROUPS:  # of a container
        try:
            cached = re.findall(r'^(?:total_)?inactive_file (\d+)', (folder / 'memory.stat').read_text(), re.MULTILINE)
            taken = int((folder / used).read_text()) - max(map(int, cached), default=0)
            free = min(free, int((folder / limit).read_text()) - taken)
        except (OSError, ValueError):  # another version of cgroups, or no limit ('max')
            continue
    return max(free, 0) // int(os.environ.get('LOCAL_WORLD_SIZE', '1'))
