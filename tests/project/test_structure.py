"""What keeps the code small and in its place."""

import re
from pathlib import Path

import maxl_sr

PACKAGE = Path(maxl_sr.__file__).parent
FILES = [*PACKAGE.rglob('*.py'), *PACKAGE.parent.joinpath('scripts').rglob('*.py')]
MOST = 300  # lines


def holding(pattern):
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob('*.py')
                  if re.search(pattern, path.read_text(encoding='utf-8')))


def test_files_are_short():
    lines = {path.name: len(path.read_text(encoding='utf-8').splitlines()) for path in FILES}
    assert [name for name, number in lines.items() if number > MOST and name != 'mirnet_arch.py'] == []
    assert lines['adaptive_model.py'] <= 250


def test_one_module_makes_whole_files():
    assert holding(r'\bos\.(replace|rename)\(|\.rename\(|shutil\.move|NamedTemporary|TemporaryDirectory') == [
        'utils/files.py']


def test_one_module_reads_checkpoints():
    assert holding(r'torch\.load\(|params_ema\'|\'module\.') == ['adaptation/checkpoint.py']
    assert holding(r"\['params'\]") == []


def test_no_mocks_outside_tests():
    assert not [path for path in FILES if 'unittest' in path.read_text(encoding='utf-8')]
