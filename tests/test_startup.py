"""What needs no network answers at once, and `import maxl_sr` registers everything all the same."""

import resource
import subprocess
import sys

import pytest


def seconds_of(*arguments):
    """Processor time of a command, its exit code, and the modules that it has imported."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, '-X', 'importtime', '-m', 'maxl_sr', *arguments], capture_output=True,
                          text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    modules = {line.rpartition('|')[2].strip() for line in done.stderr.splitlines() if line.startswith('import time:')}
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done, modules


@pytest.mark.parametrize('arguments, code', [
    (('--help', ), 0), (('--version', ), 0), (('denoise', '--help'), 0), (('denoise', 'x', '-o', 'y', '--lr', '0'), 2),
    (('restore', 'x', '-o', 'y'), 2), (('nothing', ), 2)])
def test_arguments_are_answered_without_torch(arguments, code):
    seconds, done, modules = seconds_of(*arguments)
    assert done.returncode == code
    assert not {'torch', 'basicsr', 'cv2'} & modules and 'argparse' in modules
    assert seconds < 1  # about 0.15


def test_a_program_that_imports_the_package_has_everything_registered():
    code = ('import maxl_sr; from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY; '
            'print("MultiTaskNet" in ARCH_REGISTRY, "MAXLModel" in MODEL_REGISTRY, maxl_sr.Restorer.__name__)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.split() == ['True', 'True', 'Restorer'], done.stderr


def test_there_is_nothing_else():
    import maxl_sr
    with pytest.raises(AttributeError, match="module 'maxl_sr' has no attribute 'restore'"):
        maxl_sr.restore  # noqa: B018
