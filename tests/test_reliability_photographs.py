"""Whatever a folder of photographs holds, and whatever happens to a run over it: named, and the rest is done."""

import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import maxl_sr.__main__ as command
from maxl_sr import startup
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.errors import UserError
from maxl_sr.folders import find
from maxl_sr.photo import Photo
from maxl_sr.report import Report
from maxl_sr.restore_files import jobs, restore_files
from maxl_sr.restorer import MOST_STEPS, Restorer
from maxl_sr.shard import Shard, parse_shard
from maxl_sr.utils.files import replacing
from maxl_sr.utils.memory import is_out_of_memory

BAD_NAME = os.fsdecode(b'caf\xe9.png')


def photograph(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 40, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(('in/a.png', 'in/sub/b.jpg')):
        photograph(tmp_path / name, number)
    return tmp_path


@pytest.fixture
def call(monkeypatch, folder, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['maxl-sr', *arguments])
        try:
            code = command.main()
        except SystemExit as end:
            code = end.code
        told = capsys.readouterr()
        assert 'Traceback' not in told.err
        return code, told

    return run


def denoise(call, *arguments):
    return call('denoise', *arguments, '-o', 'out', '--steps', '0', '--device', 'cpu')


def tiny():
    torch.manual_seed(0)
    return Restorer(MultiTaskNet(num_feat=4, feat_step=2, num_block=1, num_level=2), None, 'cpu')


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


# ---- names --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', [BAD_NAME, 'sub/' + BAD_NAME, os.fsdecode(b'\xff\xfe/a.png'),
                                  os.fsdecode(b'\xe7\x85/\xa7.jpg')])
def test_a_name_that_is_not_utf8_is_named_and_the_rest_is_done(call, folder, name):
    photograph(folder / 'plain.png').rename(folder / 'in' / 'new.png')
    path = folder / 'in' / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(folder / 'in/a.png', path)
    code, told = denoise(call, 'in', '--report', 'report')
    assert code == 1 and 'the name is not UTF-8; rename it' in told.err and 'failed 1' in told.err
    assert files(folder / 'out') == ['a.png', 'new.png', 'sub/b.jpg']
    assert (folder / 'report/index.html').read_text(encoding='utf-8')


def test_folders_and_files_given_by_a_name_that_is_not_utf8(call, folder):
    for arguments in ((BAD_NAME, ), ('in/a.png', '-o', BAD_NAME), ('in', '--report', os.fsdecode(b'r\xe9'))):
        code, told = denoise(call, *arguments) if '-o' not in arguments else call('denoise', *arguments)
        assert code in (1, 2) and told.err.startswith(('error: ', '/')) or 'not UTF-8' in told.err
    os.mkdir(os.fsdecode(b'f\xe9'))
    shutil.copy('in/a.png', os.fsdecode(b'f\xe9/a.png'))
    assert call('compare', '--gt', 'in', os.fsdecode(b'f\xe9'))[0] == 2
    shutil.copytree('in/sub', os.fsdecode(b'f\xe9/sub'))
    code, told = call('compare', '--gt', 'in', os.fsdecode(b'f\xe9'))
    assert code == 0 and 'f\\xe9 (2)' in told.out.replace('\udce9', '\\xe9') or 'udce9' in told.out


def test_compare_reads_names_that_are_not_utf8(call, folder):
    for root in ('gt', 'noisy'):
        os.mkdir(root)
        shutil.copy('in/a.png', os.path.join(root, BAD_NAME))
    code, told = call('compare', '--gt', 'gt', 'noisy')
    assert code == 0 and '| noisy (1) | inf / 1.0000 |' in told.out
    os.remove(os.path.join('noisy', BAD_NAME))
    photograph(folder / 'noisy/other.png')
    code, told = call('compare', '--gt', 'gt', 'noisy')
    assert code == 2 and told.err.isprintable() is False and 'caf' in told.err


@pytest.mark.parametrize('name', ['照片一.png', 'naïve.jpg', 'a b\tc.png', "quote'\".png", '-dash.png',
                                  'x' * 250 + '.png', '📷.webp', '%2e.png', 'a\nb.png', '=1+1.png', 'ｆｕｌｌ.png'])
def test_strange_names_are_kept(call, folder, name):
    shutil.rmtree(folder / 'in')
    photograph(folder / 'in' / name)
    code, told = denoise(call, 'in', '--report', 'report')
    assert code == 0 and files(folder / 'out') == [name]
    code, told = denoise(call, 'in', '--report', 'report')
    assert code == 0 and '1 of 1 images are done already' in told.err


# ---- what is no file ----------------------------------------------------------------------------------------------

def special(path, kind):
    if kind == 'a named pipe':
        os.mkfifo(path)
    elif kind == 'a socket':
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket must be short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
        os.chdir(here)
    else:
        path.symlink_to('/dev/zero')


KINDS = ['a named pipe', 'a socket', 'a device']


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_no_file_is_named_and_not_waited_for(call, folder, kind):
    special(folder / 'x.png', kind)
    code, told = denoise(call, 'x.png')
    assert code == 2 and told.err == f'error: x.png is {kind}, not a file\n'
    with pytest.raises(UserError, match=f'x.png is {kind}, not a file'):
        tiny().restore('x.png')
    code, told = call('export', '-o', 'net.pth', '--image', 'x.png', '--device', 'cpu')
    assert code == 2 and f'x.png is {kind}' in told.err
    os.rename('x.png', 'in/x.png')
    code, told = denoise(call, 'in')
    assert code == 0 and 'in: skipped: 1 special file' in told.err and files(folder / 'out') == ['a.png', 'sub/b.jpg']
    code, told = call('compare', '--gt', 'out', 'in')
    assert code == 0 and 'in: skipped: 1 special file' in told.err


@pytest.mark.parametrize('kind', KINDS)
def test_outputs_that_are_no_files_are_refused(call, folder, kind):
    special(folder / 'out', kind)
    code, told = denoise(call, 'in')
    assert code == 2 and told.err == 'error: -o out: out is no folder\n'
    special(folder / 'out.png', kind)
    code, told = call('denoise', 'in/a.png', '-o', 'out.png', '--device', 'cpu')
    assert code == 2 and f'out.png is {kind}, not a file' in told.err
    (folder / 'report').mkdir()
    special(folder / 'report/report.csv', kind)
    code, told = call('denoise', 'in', '-o', 'new', '--report', 'report', '--device', 'cpu')
    assert code == 2 and f'report.csv is {kind}, not a file' in told.err and not (folder / 'new').exists()
    (folder / 'results').mkdir()
    special(folder / 'results/x.csv', kind)
    code, told = call('compare', 'results')
    assert code == 2 and f'results/x.csv is {kind}, not a file' in told.err


# ---- what is skipped ----------------------------------------------------------------------------------------------

def test_what_is_skipped_in_a_folder_is_told(call, folder):
    for name in ('a.bmp', 'b.gif', 'c.jfif', 'd.BMP', 'e.nef', 'notes.txt', '.hidden.gif'):
        (folder / 'in' / name).touch()
    (folder / 'in/link').symlink_to(folder / 'in/sub')
    (folder / 'in/lost.png').symlink_to(folder / 'nowhere')
    code, told = denoise(call, 'in')
    assert code == 0
    assert 'in: skipped: 2 .bmp, 1 .gif, 1 .jfif, 1 .nef, 1 broken link, 1 linked folder\n' in told.err
    code, told = call('compare', '--gt', 'out', 'in')
    assert code == 0 and 'in: skipped: 2 .bmp, 1 .gif' in told.err
    (folder / 'other').mkdir()
    (folder / 'other/a.bmp').touch()
    code, told = denoise(call, 'other')
    assert code == 2 and 'other holds no image' in told.err and 'skipped: 1 .bmp' in told.err


@pytest.fixture
def nobody():
    """A folder of its own that a user without rights may use, as whom the test goes on."""
    root = Path(tempfile.mkdtemp(prefix='rights-', dir='/tmp'))
    here, is_root = os.getcwd(), os.geteuid() == 0
    os.chdir(root)
    if is_root:
        os.chown(root, 65534, 65534)
        os.setegid(65534)
        os.seteuid(65534)
    yield root
    if is_root:
        os.seteuid(0)
        os.setegid(0)
    os.chdir(here)
    for path in [root, *root.rglob('*')]:
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(root)


def test_folders_that_cannot_be_read_are_told(nobody, capsys):
    photograph(nobody / 'in/a.png')
    photograph(nobody / 'in/locked/b.png')
    (nobody / 'in/locked').chmod(0)
    assert find(Path('in')).told() == 'skipped: 1 unreadable folder'
    assert [job.source.name for job in jobs([Path('in')], Path('out'))] == ['a.png']
    assert 'in: skipped: 1 unreadable folder' in capsys.readouterr().err
    (nobody / 'in').chmod(0)
    with pytest.raises(UserError, match='in holds no image .*; skipped: 1 unreadable folder'):
        jobs([Path('in')], Path('out'))
    (nobody / 'in').chmod(0o755)
    (nobody / 'in/a.png').chmod(0)
    with pytest.raises(UserError, match='cannot read the image in/a.png: Permission denied'):
        Photo.read('in/a.png')


def test_folders_that_cannot_be_written_to_are_named_before_anything_is_computed(nobody):
    photograph(nobody / 'in/a.png')
    (nobody / 'locked').mkdir(mode=0o555)
    for output in ('locked', 'locked/new/deeper'):
        with pytest.raises(UserError, match=f'-o {output}: the folder locked cannot be written to'):
            jobs([Path('in')], Path(output))
        with pytest.raises(UserError, match=f'--report {output}: the folder locked cannot be written to'):
            Report(Path(output))


# ---- any failure of one image -------------------------------------------------------------------------------------

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
    assert restore_files(Restorer(Odd(error), None, 'cpu'), jobs([Path('in')], Path('out')), {}) == 1
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


# ---- progress, interruptions, litter ------------------------------------------------------------------------------

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


def test_a_terminal_has_a_bar_and_the_closing_line(folder):
    pty = pytest.importorskip('pty')
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 120, 0, 0))
    process = subprocess.Popen([sys.executable, '-m', 'maxl_sr', 'denoise', 'in', '-o', 'out', '--steps', '0',
                                '--device', 'cpu'], stderr=child, stdout=child)
    os.close(child)
    told = b''
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:
            break
        if not part:
            break
        told += part
    os.close(parent)
    assert process.wait(60) == 0
    assert b'\rimage 2 of 2, b.jpg' in told and re.search(rb'restored 2, skipped 0, failed 0, [\d.]+ s\r\n$', told)


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


def kill(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_half_written_files_of_killed_runs_are_removed_and_those_of_others_are_not(folder):
    (folder / 'out').mkdir()
    killed, alive = (writer(folder / 'out' / name) for name in ('killed.png', 'alive.png'))
    kill(killed)
    assert len(list((folder / 'out').iterdir())) == 2
    (folder / 'out/.mine.partial.png').touch()  # of somebody else
    assert restore_files(tiny(), jobs([Path('in')], Path('out')), {}) == 0
    left = [path.name for path in (folder / 'out').iterdir() if path.name.startswith('.')]
    assert len(left) == 2 and '.mine.partial.png' in left
    kill(alive)
    assert restore_files(tiny(), jobs([Path('in')], Path('out')), {}) == 0  # with nothing to do
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
                                       ('export', '-o', 'net.pth'), ('train', '-opt', 'lost.yml'),
                                       ('web', '--port', '7931'),
                                       ('prepare', 'div2k', 'in', '-o', 'made')])
@pytest.mark.parametrize('seconds', [0.3, 1.2])
def test_ctrl_c_in_the_first_seconds_is_no_traceback(folder, arguments, seconds):
    process = subprocess.Popen([sys.executable, '-m', 'maxl_sr', *arguments], stderr=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, text=True)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and told == 'stopped\n'


@pytest.mark.parametrize('given, name, expected', [
    (['python', '-m', 'maxl_sr', 'denoise'], '-m', True),
    (['python', '-W', 'ignore', '-m', 'maxl_sr.train'], '-m', True),
    (['python', '/usr/bin/maxl-sr', 'web'], '/usr/bin/maxl-sr', True), (['python', '-m', 'pytest'], '-m', False),
    (['python', 'mine.py', '-m', 'maxl_srx'], 'mine.py', False), (['python'], '', False),
    (['python', '-m'], '-', False)])
def test_ctrl_c_belongs_to_a_program_that_imports_the_package(monkeypatch, given, name, expected):
    monkeypatch.setattr(sys, 'orig_argv', given)
    monkeypatch.setattr(sys, 'argv', [name])
    assert startup._is_command() == expected
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---- shards -------------------------------------------------------------------------------------------------------

def test_every_file_is_in_one_share_whatever_the_order():
    names = [Path(f'{folder}/{name}.jpg') for folder in 'abc' for name in range(40)]
    for total in (1, 2, 3, 8, 50, 1000):
        shards = [Shard(number, total) for number in range(1, total + 1)]
        found = [name for shard in reversed(shards) for name in reversed(names) if shard.has(name)]
        assert sorted(found) == sorted(names)
    sizes = [sum(Shard(number, 4).has(name) for name in names) for number in range(1, 5)]
    assert min(sizes) > 15


@pytest.mark.parametrize('text', ['0/3', '4/3', '3', '1/0', '-1/3', '1/3/5', 'a/b', '', '1.0/3', '1/', '/3', ' 1/3',
                                  '1' * 5000 + '/3', '１/３'])
def test_shares_that_are_none_are_refused(call, text):
    code, told = denoise(call, 'in', f'--shard={text}')
    assert code == 2 and 'error: --shard must be I/N, I from 1 to N, or auto' in told.err and not Path('out').exists()


SLURM = {'SLURM_ARRAY_TASK_ID': '5', 'SLURM_ARRAY_TASK_COUNT': '8', 'SLURM_ARRAY_TASK_MIN': '3'}
CLUSTER = ('SLURM_ARRAY_TASK_STEP', 'JOB_COMPLETION_INDEX', 'JOB_COMPLETIONS', *SLURM)


@pytest.mark.parametrize('variables, expected', [
    (SLURM, (3, 8)), ({**SLURM, 'SLURM_ARRAY_TASK_MIN': '0', 'SLURM_ARRAY_TASK_ID': '0'}, (1, 8)),
    ({**SLURM, 'SLURM_ARRAY_TASK_STEP': '2'}, (2, 8)),
    ({key: SLURM[key] for key in ('SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT')}, (5, 8)),
    ({'JOB_COMPLETION_INDEX': '0', 'JOB_COMPLETIONS': '4'}, (1, 4)),
    ({'JOB_COMPLETION_INDEX': '3', 'JOB_COMPLETIONS': '4'}, (4, 4)),
    ({'JOB_COMPLETION_INDEX': '4', 'JOB_COMPLETIONS': '4'}, 'JOB_COMPLETION_INDEX 4 must be less than'),
    ({'JOB_COMPLETION_INDEX': '0'}, 'JOB_COMPLETION_INDEX is there, but not JOB_COMPLETIONS'),
    ({'JOB_COMPLETION_INDEX': 'x', 'JOB_COMPLETIONS': '4'}, "JOB_COMPLETION_INDEX must be an integer, not 'x'"),
    ({**SLURM, 'SLURM_ARRAY_TASK_ID': '11'}, 'task 11 is none of 8 from 3 in steps of 1'),
    ({**SLURM, 'SLURM_ARRAY_TASK_STEP': '4'}, 'task 5 is none of 8 from 3 in steps of 4'),
    ({**SLURM, 'SLURM_ARRAY_TASK_COUNT': ''}, "SLURM_ARRAY_TASK_COUNT must be an integer, not ''"),
    ({}, 'this is no task of an array of Slurm'),
])
def test_shares_of_a_cluster(monkeypatch, variables, expected):
    for name in CLUSTER:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if isinstance(expected, tuple):
        assert parse_shard('auto') == Shard(*expected)
    else:
        with pytest.raises(UserError, match=re.escape(expected)):
            parse_shard('auto')


def test_four_processes_restore_every_file_once(folder):
    for number in range(12):
        photograph(folder / f'in/more/{number}.png', number)
    names = files(folder / 'in')
    processes = []
    for number in (3, 1, 4, 2):
        inputs = ['in'] if number % 2 else [str(folder / 'in')]  # as it may be on another machine
        processes.append(subprocess.Popen(
            [sys.executable, '-m', 'maxl_sr', 'denoise', *inputs, '-o', 'out', '--steps', '0', '--device', 'cpu',
             '--shard', f'{number}/4', '--report', 'report'], stderr=subprocess.PIPE, text=True))
    told = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, told
    closing = [re.search(r'restored (\d+), skipped (\d+), failed (\d+)', text) for text in told]
    assert sum(int(match[1]) for match in closing) == len(names) == 14
    assert all(match.group(2, 3) == ('0', '0') for match in closing)
    assert files(folder / 'out') == names
    rows = [line for table in (folder / 'report').rglob('report.csv') for line in table.read_text().splitlines()[1:]]
    assert len(rows) == 14


def test_a_share_without_files_is_no_mistake(call, folder):
    names = [job.name for job in jobs([Path('in')], Path('out'))]
    empty = next(number for number in range(1, 9) if not any(Shard(number, 8).has(name) for name in names))
    code, told = denoise(call, 'in', '--shard', f'{empty}/8')
    assert code == 0 and re.fullmatch(r'restored 0, skipped 0, failed 0, [\d.]+ s\n', told.err)


# ---- other arguments ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('arguments, message', [
    (('--steps', str(MOST_STEPS + 1)), f'steps must be at most {MOST_STEPS}'), (('--steps', '9' * 400), 'at most'),
    (('--steps', '9' * 5000), 'invalid count value'), (('--steps', '1e3'), 'invalid count value'),
    (('--lr', 'inf'), 'must be greater than 0'), (('--lr', 'nan'), 'must be greater than 0'),
    (('--tile', '0'), 'tile must be an integer of at least 1'), (('--tile', '-4'), 'must be at least 0'),
    (('--report', 'in/a.png/x'), '--report in/a.png/x: in/a.png is no folder'), (('--device', ''), 'is unknown'),
    (('--device', 'cuda:99'), 'is unknown to torch, or not there'), (('-opt', 'in'), 'there is no file in'),
    (('-opt', '/dev/zero'), 'there is no file'), (('x' * 5000, ), 'there is no file or folder'),
    (('in/a.png/b', ), 'there is no file or folder'), (('--report', ''), 'argument --report: must not be empty'),
    (('', ), 'argument PHOTO_OR_FOLDER: must not be empty'), (('--report', 'r' * 300), 'error: '),
])
def test_mistakes_are_one_sentence(call, folder, arguments, message):
    before = files(folder)
    code, told = call('denoise', 'in', *arguments, '-o', 'out')
    assert code == 2 and message in told.err and files(folder) == before
    assert told.err.splitlines()[-1].count('error: ') == 1


@pytest.mark.parametrize('output', ['in/a.png/x', 'x' * 300, '/proc/none', 'in/a.png/../b', '\t/\n'])
def test_outputs_that_cannot_be_are_named(call, folder, output):
    before = files(folder / 'in')
    code, told = call('denoise', 'in', '-o', output, '--device', 'cpu', '--steps', '0')
    assert code in (0, 1, 2) and (code == 0) == (output == '\t/\n') and files(folder / 'in') == before


def test_replacing_a_file_keeps_it_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / 'a.png'
    path.write_text('old')
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text('half')
        raise ZeroDivisionError
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_an_option_file_that_cannot_be_read_is_named(nobody, monkeypatch, capsys):
    photograph(nobody / 'in/a.png')
    (nobody / 'own.yml').write_text('name: x')
    (nobody / 'own.yml').chmod(0)
    for arguments in (('denoise', 'in', '-o', 'out', '-opt', 'own.yml'),
                      ('export', '-o', 'net.pth', '-opt', 'own.yml')):
        monkeypatch.setattr(sys, 'argv', ['maxl-sr', *arguments])
        assert command.main() == 2
        told = capsys.readouterr().err
        assert told.startswith('error: ') and "Permission denied: 'own.yml'" in told and told.count('\n') == 1


@pytest.mark.parametrize('scale', [1, 4])
def test_hidden_colours_do_not_reach_what_is_seen(tmp_path, scale):
    restorer = Restorer.from_pretrained('sr_x4', 'cpu') if scale == 4 else tiny()
    rows, columns = np.mgrid[:40, :60]
    inside = (rows - 20) ** 2 + (columns - 30) ** 2 < 144
    results = []
    for hidden in (0, 255, 77):
        array = np.full((40, 60, 4), hidden, np.uint8)
        array[..., 3] = 0
        array[inside] = [250, 220, 30, 255]
        Image.fromarray(array).save(tmp_path / 'in.png')
        restorer.restore(tmp_path / 'in.png', tmp_path / 'out.png')
        results.append(np.asarray(Image.open(tmp_path / 'out.png')))
    assert all(np.array_equal(result, results[0]) for result in results)
    seen = results[0][results[0][..., 3] > 0][:, :3].astype(int)
    assert results[0].shape == (40 * scale, 60 * scale, 4)
    if restorer.scale == 4:
        assert np.abs(seen - [250, 220, 30]).max() < 12
