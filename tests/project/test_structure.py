"""What keeps the code small and in its place."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import maxl_sr
from tests.helpers import ROOT

PACKAGE = Path(maxl_sr.__file__).parent
MODULES = {'.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts).removesuffix('.__init__'): path
           for path in PACKAGE.rglob('*.py')}
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


def imports(module):
    """The modules of the package that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{module}: relative import'
            names = {f'{node.module}.{alias.name}' for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return {name for name in found if name in MODULES} - {module}


def place(module):
    """The folder or file right below the package that a module is in, as the table of CONTRIBUTING.md names it."""
    first, *rest = MODULES[module].relative_to(PACKAGE).parts
    return f'{first}/' if rest else first


def is_door(module, imported):
    name = MODULES[module].name
    return imported == 'maxl_sr.commands.doors' and name in ('__init__.py', '__main__.py')


def test_imports_point_to_rows_above():
    table = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8').split('| Where in `maxl_sr/` |')[1].split('\n\n')[0]
    rows = [re.findall(r'`([\w/.]+)`', line.split('|')[1]) for line in table.splitlines()[2:]]
    row = {name: number for number, names in enumerate(rows) for name in names}
    assert len(row) == sum(map(len, rows))
    assert row.keys() == {place(module) for module in MODULES}

    assert [f'{module} imports {imported}' for module in MODULES for imported in imports(module)
            if place(module) != place(imported) and row[place(module)] <= row[place(imported)]
            and not is_door(module, imported)] == []


def test_no_circles():
    sorter = TopologicalSorter({module: {imported for imported in imports(module) if not is_door(module, imported)}
                                for module in MODULES})
    sorter.prepare()  # raises CycleError, which names it
