"""What the program chooses for the machine."""

import os
import subprocess
import sys

import psutil
import pytest
import torch

from maxl_sr.utils import machine

CPU = torch.device('cpu')


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """Function that writes the limit, use and cache of a container in place of those of this machine."""
    monkeypatch.setattr(machine, '_CGROUPS', ((tmp_path, 'memory.max', 'memory.current'), ))
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)

    def write(limit, used, cached):
        (tmp_path / 'memory.max').write_text(f'{limit}\n')
        (tmp_path / 'memory.current').write_text(f'{used}\n')
        (tmp_path / 'memory.stat').write_text(f'anon 5\ninactive_file {cached}\nactive_file 7\n')

    return write


def test_free_memory_is_that_of_the_container(cgroup):
    cgroup(1000, 700, 100)
    assert machine.free_memory(CPU) == 400
    cgroup(1000, 1300, 0)
    assert machine.free_memory(CPU) == 0


def test_free_memory_without_a_limit_is_that_of_the_host(cgroup, tmp_path):
    cgroup('max', 700, 100)
    assert 0.5 < machine.free_memory(CPU) / psutil.virtual_memory().available < 2
    (tmp_path / 'memory.stat').unlink()
    assert machine.free_memory(CPU) > 2 ** 20


def test_processes_of_a_host_share_its_memory(cgroup, monkeypatch):
    cgroup(1000, 700, 100)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '4')
    assert machine.free_memory(CPU) == 100


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='mallopt is that of glibc')
@pytest.mark.parametrize('own, kept', [({}, True), ({'MALLOC_TRIM_THRESHOLD_': '1000000'}, False)])
def test_freed_memory_is_kept_unless_the_user_has_chosen(own, kept):
    script = '''
import maxl_sr, torch
from maxl_sr.utils.machine import keep_freed_memory
def faults(): return int(open('/proc/self/stat').read().rsplit(')', 1)[1].split()[7])
print(keep_freed_memory())
def use():
    for _ in range(20): torch.ones(2 ** 21)  # 8 MiB each
use(); before = faults(); use(); print(faults() - before)
'''
    env = {name: value for name, value in os.environ.items() if not name.startswith(('MALLOC_', 'LD_PRELOAD'))}
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', script], env={**env, **own}, text=True,
                          capture_output=True, check=True)
    answer, faults = done.stdout.split()[-2:]
    assert answer == str(kept)
    if kept:
        assert int(faults) < 1000  # 20 times 2048 pages without


def test_channels_last_on_a_cpu():
    assert machine.memory_format(CPU) is torch.channels_last
    assert machine.memory_format(torch.device('cuda')) is torch.contiguous_format
