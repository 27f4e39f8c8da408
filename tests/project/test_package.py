"""The built wheel in an environment of its own and another folder."""

import re
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest
import torch
import yaml

import maxl_sr
from tests.helpers import ROOT, meta_test_options, train_options


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    source = tmp_path_factory.mktemp('source')
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):  # a copy: no left-overs of earlier builds
        shutil.copy(ROOT / name, source)
    for name in ('maxl_sr', 'options'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    return source


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    out = tmp_path_factory.mktemp('wheel')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '-w', out,
                    source], check=True)
    return next(out.glob('*.whl'))


def test_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith('METADATA'))).decode()
    options = {path.relative_to(ROOT / 'options').as_posix() for path in (ROOT / 'options').rglob('*.yml')}
    assert {name.removeprefix('maxl_sr/options/') for name in names if name.endswith('.yml')} == options
    assert 'maxl_sr/options/options.schema.json' in names  # where the first line of each option file looks for it
    weights = {path.name for path in (ROOT / 'maxl_sr/weights').iterdir()}
    assert {name.removeprefix('maxl_sr/weights/') for name in names if 'weights/' in name} == weights
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'maxl_sr').rglob('*.py')}
    assert {name for name in names if name.endswith('.py')} == modules and 'maxl_sr/py.typed' in names
    assert not [name for name in names if name.startswith(('tests', 'scripts', 'options'))]
    photographs = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'maxl_sr/photographs').iterdir()}
    assert {name for name in names if 'photographs/' in name} == photographs
    assert not [name for name in set(names) - photographs if name.lower().endswith(('.png', '.jpg', '.mdb'))]
    assert re.search(r'Requires-Python: (<3\.13,>=3\.10|>=3\.10,<3\.13)\n', metadata)
    assert 'License-Expression: Apache-2.0\n' in metadata and f'\nVersion: {maxl_sr.__version__}\n' in metadata


@pytest.mark.slow
def test_the_source_distribution_makes_the_same_wheel(source, wheel, tmp_path):
    code = f'from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})'
    subprocess.run([sys.executable, '-c', code], cwd=source, check=True, capture_output=True)
    archive, = tmp_path.glob('*.tar.gz')
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter='data')
    inside = tmp_path / f'maxl_sr-{maxl_sr.__version__}'
    for name in ('README.md', 'LICENSE', 'pyproject.toml', 'setup.py'):
        assert (inside / name).read_bytes() == (ROOT / name).read_bytes()
    code = f'from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})'
    subprocess.run([sys.executable, '-c', code], cwd=inside, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob('*.whl'))) as again, zipfile.ZipFile(wheel) as first:
        assert sorted(again.namelist()) == sorted(first.namelist())


def test_there_is_one_version():
    assert re.findall(r'^version: (.+)$', (ROOT / 'CITATION.cff').read_text(), re.MULTILINE) == [maxl_sr.__version__]
    for name in ('setup.py', 'pyproject.toml'):
        assert maxl_sr.__version__ not in (ROOT / name).read_text()


def test_the_environment_is_made_anew_for_other_dependencies_alone(tmp_path):
    """What scripts/setup.sh compares is all of pyproject.toml but the settings of tools."""
    command, = re.findall(r'^metadata\(\) \{ (.*); \}$', (ROOT / 'scripts/setup.sh').read_text(), re.MULTILINE)
    text = (ROOT / 'pyproject.toml').read_text()

    def compared(text):
        (tmp_path / 'pyproject.toml').write_text(text)
        return subprocess.run(['bash', '-c', command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    told = compared(text)
    assert '"torch>=2.6"' in told and 'maxl_sr.__main__:main' in told and 'ruff.lint' not in told
    assert compared(text.replace('line-length = 120', 'line-length = 99')) == told
    assert compared(text.replace('"torch>=2.6"', '"torch>=2.7"')) != told


@pytest.mark.slow
def test_trains_tests_and_finds_its_option_files(wheel, make_pairs, tmp_path, monkeypatch):
    monkeypatch.delenv('PYTHONPATH', raising=False)  # of a checkout
    home = tmp_path / 'elsewhere'
    venv.create(home / 'venv', with_pip=False)
    python = home / 'venv/bin/python'
    packages = next((home / 'venv/lib').glob('python*/site-packages'))
    # The dependencies are several GB: the environment borrows them by a .pth file, which does not bring along
    # a development install of the package itself.
    (packages / 'borrowed.pth').write_text('\n'.join(site.getsitepackages()))
    subprocess.run([sys.executable, '-m', 'pip', '--python', python, 'install', '--quiet', '--no-deps', '--no-index',
                    wheel], check=True)

    def run(*arguments):
        return subprocess.run([python, '-W', 'ignore', '-m', *arguments], cwd=home, text=True, capture_output=True)

    where = subprocess.run([python, '-c', 'import maxl_sr; print(maxl_sr.__file__)'], cwd=home, text=True,
                           capture_output=True, check=True).stdout
    assert str(packages) in where
    pairs = make_pairs()
    (home / 'train.yml').write_text(yaml.safe_dump(train_options('MetaTransferModel', pairs)))
    assert (done := run('maxl_sr.train', '-opt', 'train.yml')).returncode == 0, done.stderr
    (home / 'test.yml').write_text(yaml.safe_dump(meta_test_options(pairs, home / 'experiments/tiny/models')))
    assert (done := run('maxl_sr.test', '-opt', 'test.yml')).returncode == 0, done.stderr
    assert (home / 'results/tiny_test/tiny.csv').exists()
    done = run('maxl_sr.train', '-opt', 'options/cpu/stage1_maxl.yml')
    assert done.returncode == 2 and 'there is no folder datasets/bsds500/gt' in done.stderr  # the file itself was found
    assert not (home / 'experiments/cpu_stage1_maxl').exists()
    assert torch.load(home / 'experiments/tiny/models/net_g_latest.pth')['params']
