"""Whatever happens to a run over photographs: failures, full disks, kills, Ctrl-C, wrong arguments."""

import contextlib
import io
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maxl_sr import startup
from maxl_sr.restore_files import restore_files
from maxl_sr.restorer import Restorer
from maxl_sr.utils.files import replacing
from maxl_sr.utils.memory import is_out_of_memory
from maxl_sr.work_list import work_list
from tests.helpers import slow
from tests.photo_runs import denoise, files, photograph, tiny
from tests.processes import interrupted, kill


class Odd(torch.nn.Module):
    """A network that takes images of some sizes only."""

    scale, halo, multiple = 1, None, 1

    def __init__(self, error):
        super().__init__()
        self.conv, self.error = torch.nn.Conv2d(3, 3, 1), error

    def forward_features(self, x):
        return x

    def forward_primary(self, features, x):
        if x.shape[-1] > 40:
            raise self.error
        return x

    def forward_heads(self, features, x):
        return self.forward_primary(features, x), x


@pytest.mark.parametrize('error', [RuntimeError('The size of tensor a (33) must match the size of tensor b (34)\nmore'),
                                   AssertionError(), IndexError('list index out of range'), ZeroDivisionError('x'),
                                   TypeError('x'), KeyError('x'), np.linalg.LinAlgError('Singular matrix'),
                                   AttributeError('x'), RuntimeError('could not create a primitive'), OSError(5, 'I/O'),
                                   MemoryError()])
def test_an_image_that_fails_is_named_and_the_rest_is_done(folder, capsys, error):
    Image.new('RGB', (60, 30)).save('in/b.png')
    assert restore_files(Restorer(Odd(error), None, 'cpu'), work_list([Path('in')], Path('out')), {}) == 1
    told = capsys.readouterr().err
    assert re.search(r'^error: in/b.png: .+', told, re.MULTILINE) and 'Traceback' not in told
    assert files(folder / 'out') == ['a.png', 'sub/b.jpg']
    assert re.search(r'^restored 2, skipped 0, failed 1, [\d.]+ s: 1 of 3 images could not be restored$', told,
                     re.MULTILINE)


@pytest.mark.parametrize('text', [
    'could not create a primitive', 'could not create a memory object', 'std::bad_alloc',
    "[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate",
    'CUDA error: out of memory', 'CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate', 'CUDNN_STATUS_ALLOC_FAILED',
    'OpenCV(5.0.0) error: (-4:Insufficient memory) Failed to allocate 100 bytes in function OutOfMemoryError',
    '[Errno 12] Cannot allocate memory', 'DefaultCPUAllocator: not enough memory: you tried to allocate'])
def test_out_of_memory_is_known_by_the_words_of_every_library(text):
    restorer, sizes = tiny(), []

    def compute(size):
        sizes.append(size)
        if size > 128:
            raise RuntimeError(text)
        return 'done'

    restorer._tile_size = lambda: 512
    assert restorer._in_memory(None, compute) == 'done' and sizes == [512, 256, 128]
    assert is_out_of_memory(RuntimeError(text)) and not is_out_of_memory(RuntimeError('sizes differ'))


def in_a_child(work):
    """Run a function in a copy of this process and return what it returns, an exit code."""
    child = os.fork()
    if not child:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_onednn_that_cannot_allocate_is_known():
    """The address space ends: the error is a real one."""
    def work():
        x, net = torch.zeros(1, 64, 1024, 1024), torch.nn.Conv2d(64, 64, 3, padding=1)
        with torch.no_grad():
            net(x[..., :64, :64])
            limit = int(Path('/proc/self/statm').read_text().split()[0]) * 4096 + 2 ** 28 + 2 ** 26
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            for kind in (torch.channels_last, torch.contiguous_format):
                try:
                    for _ in range(3):
                        x = net(x.contiguous(memory_format=kind))
                except (RuntimeError, MemoryError) as error:
                    return 0 if is_out_of_memory(error) else 1
        return 2

    assert in_a_child(work) == 0


def test_a_log_has_lines_and_one_closing_line(call, folder):
    (folder / 'in/bad.png').write_text('no image')
    photograph(folder / 'out/sub/b.jpg')
    code, told = denoise(call, 'in')
    assert code == 1 and '\r' not in told.err
    lines = told.err.splitlines()
    assert lines[0] == '1 of 3 images are done already'
    assert re.fullmatch(r'image 1 of 2, a.png: [\d.]+ of [\d.]+ MP, [\d.]+ MP/s, \d\d:\d\d left', lines[1])
    assert lines[2].startswith('error: cannot read the image in/bad.png')
    assert re.fullmatch(r'restored 1, skipped 1, failed 1, [\d.]+ s: 1 of 2 images could not be restored', lines[-1])
    assert len(lines) == 5
    code, told = denoise(call, 'in/a.png')
    assert re.fullmatch(r'1 of 1 images are done already\nrestored 0, skipped 1, failed 0, [\d.]+ s\n', told.err)


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self):
        return True


def test_a_terminal_has_a_bar_and_the_closing_line(call, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, 'stderr', terminal)
    assert denoise(call, 'in')[0] == 0
    told = terminal.getvalue()
    assert '\rimage 2 of 2, b.jpg' in told and re.search(r'\nrestored 2, skipped 0, failed 0, [\d.]+ s\n$', told)
    assert 'image 2 of 2, b.jpg: ' not in told


@pytest.mark.slow
@pytest.mark.parametrize('how', ['closed', 'none'])
def test_whoever_reads_the_log_may_leave(call, folder, monkeypatch, how):
    """As under ``2>&1 | head -1`` and ``2>&-``."""
    reader, end = os.pipe()
    os.close(reader)
    with os.fdopen(end, 'w', closefd=False) as left:
        monkeypatch.setattr(sys, 'stderr', left if how == 'closed' else None)
        (folder / 'in/bad.png').write_text('no image')
        assert denoise(call, 'in')[0] == 1 and files(folder / 'out') == ['a.png', 'sub/b.jpg']
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError) if how == 'closed' else contextlib.nullcontext():
            left.flush()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, end)
    for handle in (null, end):
        os.close(handle)


def writer(path):
    """A process that goes on writing a file."""
    child = os.fork()
    if child:
        until = time.monotonic() + 60
        while not any(other.stat().st_size for other in path.parent.glob(f'.*.partial{path.suffix}')
                      if other.read_bytes() == path.name.encode()) and time.monotonic() < until:
            time.sleep(0.02)
        return child
    try:
        with replacing(path) as partial:
            partial.write_bytes(path.name.encode())
            time.sleep(600)
    finally:
        os._exit(0)


def test_half_written_files_of_killed_runs_are_removed_and_those_of_others_are_not(folder):
    (folder / 'out').mkdir()
    killed, alive = (writer(folder / 'out' / name) for name in ('killed.png', 'alive.png'))
    kill(killed)
    assert len(list((folder / 'out').iterdir())) == 2
    (folder / 'out/.mine.partial.png').touch()  # of somebody else
    assert restore_files(tiny(), work_list([Path('in')], Path('out')), {}) == 0
    left = [path.name for path in (folder / 'out').iterdir() if path.name.startswith('.')]
    assert len(left) == 2 and '.mine.partial.png' in left
    kill(alive)
    assert restore_files(tiny(), work_list([Path('in')], Path('out')), {}) == 0  # with nothing to do
    assert sorted(path.name for path in (folder / 'out').iterdir()) == ['.mine.partial.png', 'a.png', 'sub']


def test_a_full_disk_leaves_nothing_half(call, folder):
    """Files may not grow beyond some bytes: writing them ends as on a full disk."""
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        code, told = denoise(call, 'in')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert code == 1 and told.err.count(': write error; system error: File too large') == 2
    assert 'error: in/a.png: cannot write out/a.png: write error' in told.err and not files(folder / 'out')


@pytest.mark.parametrize('arguments', [('denoise', 'in', '-o', 'out'), ('compare', '--gt', 'in', 'in'),
                                       ('export', '-o', 'net.pth'), ('train', '-opt', 'cpu/test_real.yml'),
                                       ('web', '--port', '7931'),
                                       ('prepare', 'div2k', 'in', '-o', 'made')])
@pytest.mark.parametrize('seconds', [0, *slow(1)])
def test_ctrl_c_in_the_first_seconds_is_no_traceback(folder, arguments, seconds):
    assert interrupted('maxl_sr', *arguments, seconds=seconds) == (130, 'interrupted')


@pytest.mark.parametrize('given, name, expected', [
    (['python', '-m', 'maxl_sr', 'denoise'], '-m', True),
    (['python', '-W', 'ignore', '-m', 'maxl_sr.train'], '-m', True),
    (['python', '/usr/bin/maxl-sr', 'web'], '/usr/bin/maxl-sr', True), (['python', '-m', 'pytest'], '-m', False),
    (['python', '-c', 'spawn_main()', '--multiprocessing-fork'], '/usr/bin/maxl-sr', False),
    (['python', 'mine.py', '-m', 'maxl_srx'], 'mine.py', False), (['python'], '', False),
    (['python', '-m'], '-', False)])
def test_ctrl_c_belongs_to_a_program_that_imports_the_package(monkeypatch, given, name, expected):
    monkeypatch.setattr(sys, 'orig_argv', given)
    monkeypatch.setattr(sys, 'argv', [name])
    assert startup.is_command() == expected
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
