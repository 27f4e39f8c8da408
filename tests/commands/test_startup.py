"""What needs no network answers at once, and `import maxl_sr` registers everything all the same."""

import resource
import subprocess
import sys

import pytest

from maxl_sr.commands import COMMANDS
from tests.helpers import python

LIMIT = 0.3  # seconds of processor time
TRIES = 3  # the least of them counts: other processes share the processor's caches


def measured(*arguments):
    """Least processor time of a Python process, and the process."""
    times = []
    for _ in range(TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = python(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        if times[-1] < LIMIT:
            break
    return min(times), done


def imported(told):
    return {line.rpartition('|')[2].strip() for line in told.splitlines() if line.startswith('import time:')}


HELP = [('maxl_sr', '--help'), ('maxl_sr', '--version'), *(('maxl_sr', name, '--help') for name in COMMANDS),
        ('maxl_sr', 'prepare', 'nam', '--help'), ('maxl_sr.train', '--help'), ('maxl_sr.test', '--help'),
        ('maxl_sr.prepare', '--help'), ('maxl_sr.export', '--help'), ('maxl_sr.web', '--help'),
        ('maxl_sr.compare', '--help')]
REFUSED = [('maxl_sr', ), ('maxl_sr', 'nothing'), *(('maxl_sr', name, '--foo') for name in COMMANDS),
           ('maxl_sr', 'denoise', 'x', '-o', 'y', '--lr', '0'), ('maxl_sr', 'denoise', 'lost', '-o', 'y'),
           ('maxl_sr', 'denoise', 'x', '-o', 'y', '--shard', '3/2'), ('maxl_sr', 'restore', 'x', '-o', 'y'),
           ('maxl_sr', 'train'), ('maxl_sr', 'train', '-opt', 'lost.yml'), ('maxl_sr', 'test', '-opt', 'lost.yml'),
           ('maxl_sr', 'train', '-opt', 'x.yml', '--launcher', 'mine'),
           ('maxl_sr', 'prepare', 'nonsense'), ('maxl_sr', 'prepare', 'nam', 'lost', '-o', 'y'),
           ('maxl_sr', 'export', '-o', 'x.doc'), ('maxl_sr', 'export', '-o', 'x.pth', '--steps', '3'),
           ('maxl_sr', 'web', '--queue', '0'), ('maxl_sr', 'web', '--host', '..'),
           ('maxl_sr', 'compare', 'x', '--matched'), ('maxl_sr', 'compare', 'lost'), ('maxl_sr.train', '--foo')]


@pytest.mark.parametrize('arguments, code', [*((arguments, 0) for arguments in HELP),
                                             *((arguments, 2) for arguments in REFUSED)], ids=str)
def test_arguments_are_answered_at_once_and_without_torch(arguments, code):
    seconds, done = measured('-X', 'importtime', '-m', *arguments)
    modules = imported(done.stderr)
    assert done.returncode == code, done.stderr
    assert not {'torch', 'basicsr', 'cv2', 'gradio', 'onnx'} & modules and 'argparse' in modules
    assert seconds < LIMIT  # 0.05 to 0.12


@pytest.mark.slow
@pytest.mark.parametrize('command, text', [
    ('train', 'name: x\n'), ('test', 'name: x\nmodel_type: SRModel\nnum_gpu: 0\ndatasets: {}\npath: {}\n'),
    ('train', None)])
def test_a_refused_option_file_takes_twice_as_long_as_torch_at_most(tmp_path, command, text):
    path = tmp_path / 'x.yml'
    if text is not None:
        path.write_text(text)
    # The last one goes through the whole check, and fails of the folder of its photographs
    given = 'options/cpu/stage1_maxl.yml' if text is None else str(path)
    command = (sys.executable, '-m', 'maxl_sr', command, '-opt', given)
    for _ in range(3):
        before, after = [], []
        for times, arguments in ((before, [sys.executable, '-c', 'import torch']), (after, command)):
            for _ in range(2):
                start = resource.getrusage(resource.RUSAGE_CHILDREN)
                done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
                end = resource.getrusage(resource.RUSAGE_CHILDREN)
                times.append(end.ru_utime - start.ru_utime + end.ru_stime - start.ru_stime)
        assert done.returncode == 2 and done.stderr.startswith('error: '), done.stderr
        if min(after) <= 2 * min(before):  # 1.6 times
            return
    raise AssertionError(f'{min(after):.2f} s, torch {min(before):.2f} s')


@pytest.mark.slow
def test_what_is_seldom_called_is_loaded_when_it_is_called():
    code = ('import sys, maxl_sr, torch, torchvision; from basicsr.data import degradations; '
            'print("torch._dynamo" in sys.modules, "scipy.stats" in sys.modules); '
            'boxes = torch.tensor([[0., 0, 0, 4, 4]]); '
            'print(*torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), boxes, 1).flatten().tolist()); '
            'print(torchvision.ops.roi_align.__globals__["is_compile_supported"]("cpu"), '
            'type(sys.modules["torch._dynamo.utils"]).__name__); '
            'print(degradations.multivariate_normal([0, 0], [[1, 0], [0, 1]]).cdf([0, 0]).round(4)); '
            'from scipy.stats import multivariate_normal; print(type(multivariate_normal).__name__)')
    done = python('-c', code)
    assert done.stdout.split() == ['False', 'False', '1.0', 'True', 'module', '0.25', 'multivariate_normal_gen'], done


@pytest.mark.slow
def test_a_program_that_imports_the_package_has_everything_registered():
    code = ('import maxl_sr; from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY; '
            'print("MultiTaskNet" in ARCH_REGISTRY, "MAXLModel" in MODEL_REGISTRY, maxl_sr.Restorer.__name__)')
    done = python('-c', code)
    assert done.stdout.split() == ['True', 'True', 'Restorer'], done.stderr


def test_there_is_nothing_else():
    import maxl_sr
    with pytest.raises(AttributeError, match="module 'maxl_sr' has no attribute 'nothing'"):
        maxl_sr.nothing  # noqa: B018
