"""How commands are called, and how their errors are told: one dispatcher, one policy."""

import argparse
import ast
import pkgutil
import sys
from pathlib import Path

import basicsr.utils.options as basicsr_options
import pytest

import maxl_sr
from maxl_sr import commands, compare, export, prepare, web
from maxl_sr.commands import COMMANDS, main
from maxl_sr.commands import compare as command
from maxl_sr.commands import prepare as other_command
from maxl_sr.commands.pipelines import add_arguments, for_basicsr
from maxl_sr.errors import UserError
from tests.helpers import python

PACKAGE = Path(maxl_sr.__file__).parent
HELPERS = {'arguments', 'dispatch', 'doors', 'photographs', 'pipelines'}


def raising(error):
    def run(args):
        raise error

    return run


def test_every_module_is_a_command_or_helps_commands():
    names = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    assert names == set(COMMANDS) | HELPERS
    for name in COMMANDS:
        module = commands.dispatch.command(name)
        module.add_arguments(argparse.ArgumentParser())
        assert callable(module.run) and module.__doc__.startswith(f'``maxl-sr {name}``: ')


@pytest.mark.parametrize('error, told, code', [
    (UserError('there is no file x'), 'there is no file x', 2),
    (OSError(28, 'No space left on device', 'x'), 'x: No space left on device', 2),
    (OSError(28, 'No space left on device'), 'No space left on device', 2),
    (OSError(28, 'No space left on device', 'a\nb'), 'a\\nb: No space left on device', 2),
    (MemoryError(), 'there is not enough memory', 2),
    (MemoryError('not enough memory for tiles of 64 pixels'), 'not enough memory for tiles of 64 pixels', 2),
    (RuntimeError('[enforce fail] DefaultCPUAllocator: not enough memory'), 'there is not enough memory', 2),
])
def test_what_is_a_mistake_or_the_machine_s_fault_is_one_sentence(monkeypatch, capsys, error, told, code):
    monkeypatch.setattr(command, 'run', raising(error))
    assert main(['compare', 'x']) == code
    assert capsys.readouterr() == ('', f'error: {told}\n')


@pytest.mark.parametrize('error', [ValueError('x'), TypeError('x'), KeyError('x'), OSError('x'), RuntimeError('x'),
                                   UnicodeEncodeError('utf-8', 'x', 0, 1, 'x'), AssertionError()], ids=repr)
def test_a_fault_of_the_program_is_no_mistake_of_the_user_s(monkeypatch, capsys, error):
    monkeypatch.setattr(command, 'run', raising(error))
    with pytest.raises(type(error)):
        main(['compare', 'x'])
    assert 'error:' not in capsys.readouterr().err


@pytest.mark.parametrize('name', COMMANDS)
def test_a_value_error_within_a_command_is_a_traceback(name):
    arguments = {'denoise': ['x', '-o', 'y'], 'restore': ['x', '-o', 'y', '--task', 'sr2'], 'train': ['-opt', 'x'],
                 'test': ['-opt', 'x'], 'prepare': ['nam', 'x', '-o', 'y'], 'export': ['-o', 'x'], 'web': [],
                 'compare': ['x'], 'schema': []}[name]
    code = (f'import sys; sys.orig_argv = ["python", "-m", "maxl_sr"]; from maxl_sr.commands import main, {name} as c\n'
            f'def run(args): raise ValueError("broken")\nc.run = run; sys.exit(main({[name, *arguments]!r}))')
    done = python('-c', code)
    assert done.returncode == 1 and done.stderr.startswith('Traceback') and done.stderr.endswith('ValueError: broken\n')
    assert not [line for line in done.stderr.splitlines() if line.startswith('error: ')]


def test_ctrl_c_is_told_with_what_it_leaves(monkeypatch, capsys):
    monkeypatch.setattr(command, 'run', raising(KeyboardInterrupt()))
    assert main(['compare', 'x']) == 130 and capsys.readouterr().err == '\ninterrupted\n'
    monkeypatch.setattr(other_command, 'run', raising(KeyboardInterrupt()))
    assert main(['prepare', 'nam', 'x', '-o', 'y']) == 130
    assert capsys.readouterr().err == '\ninterrupted; the same command continues\n'


def test_the_flags_of_a_training_are_basicsr_s(monkeypatch):
    def flags(parser):
        return {(*action.option_strings, action.dest, action.nargs, action.default, str(action.choices), action.type
                 if action.type is not str else None, action.required) for action in parser._actions}

    given, taken, parse = [], [], argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', lambda self, *_: given.append(self) or sys.exit(0))
    original = basicsr_options.parse_options.__wrapped__
    with pytest.raises(SystemExit):
        original('.')
    own = argparse.ArgumentParser()
    add_arguments(own)
    assert flags(own) == flags(given[0])
    # What is handed over is what was given
    for arguments in (['-opt', 'cpu/test_real.yml'], ['-opt=cpu/test_real.yml', '--debug', '--auto_resume'],
                      ['--force_yml', 'name=a b', 'val:adapt=~', '-opt', 'cpu/test_real.yml', '--local_rank', '-2']):
        taken = parse(own, arguments)
        assert parse(given[0], for_basicsr(taken)) == taken


def test_nothing_is_told_by_way_of_sys_argv():
    """One place sets it, for BasicSR, which reads nothing else."""
    writers = set()
    for path in PACKAGE.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, 'target', None)]
            if isinstance(node, ast.Call):  # sys.argv.pop(1) and the like
                targets = [getattr(node.func, 'value', None)]
            for target in targets:
                target = target.value if isinstance(target, ast.Subscript) else target
                if isinstance(target, (ast.Attribute, ast.Tuple)) and 'sys.argv' in ast.unparse(target):
                    writers.add(path.relative_to(PACKAGE).as_posix())
    assert writers == {'toolbox/seams.py'}


def test_a_training_leaves_sys_argv_alone(run, make_pairs, monkeypatch, tmp_path):
    from tests.helpers import train_options
    monkeypatch.setattr(sys, 'argv', ['mine', 'argument'])
    (tmp_path / 'lost.yml').write_text('name: x')
    monkeypatch.chdir(tmp_path)
    assert main(['train', '-opt', 'lost.yml']) == 2 and sys.argv == ['mine', 'argument']
    assert run('train', train_options('MAXLModel', make_pairs())) == 0
    assert sys.argv == ['train', '-opt', str(tmp_path / 'options.yml')]
    copy, = tmp_path.glob('experiments/tiny/options.yml')
    assert copy.read_text().splitlines()[2] == f'# train -opt {tmp_path}/options.yml'


@pytest.mark.parametrize('package', [compare, export, prepare, web])
def test_a_package_has_the_names_that_it_lists(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018


# --- layers ---


def imports(path):
    """The modules of the package that a file imports when it is imported itself."""
    found = set()
    nodes = list(ast.iter_child_nodes(ast.parse(path.read_text(encoding='utf-8'))))
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.If)) and 'TYPE_CHECKING' not in ast.unparse(node)[:30]:
            nodes += [] if isinstance(node, ast.FunctionDef) else node.body
        elif isinstance(node, (ast.Try, ast.With, ast.ClassDef)):
            nodes += node.body
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f'{node.module}.{alias.name}' for alias in node.names} | {node.module}
    return found


def test_imports_point_downwards_only():
    files = {'.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts).removesuffix('.__init__'): path
             for path in PACKAGE.rglob('*.py')}
    graph = {name: imports(path) & files.keys() - {name} for name, path in files.items()}
    doors = {'maxl_sr.__main__', 'maxl_sr.train', 'maxl_sr.test', *(f'maxl_sr.{name}.__main__' for name in (
        'compare', 'export', 'prepare', 'web'))}
    above = {name for name, others in graph.items() if any(other.startswith('maxl_sr.commands') for other in others)
             and not name.startswith('maxl_sr.commands')}
    assert above == doors
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, ' -> '.join([*open_[open_.index(name):], name])
        if name not in done:
            open_.append(name)
            for other in sorted(graph[name] - {'maxl_sr'}):  # which imports nothing in a command
                visit(other)
            open_.pop()
            done.add(name)

    for name in sorted(graph):
        visit(name)
