"""The built wheel in an environment of its own and another folder."""

import re
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from conftest import test_options as options_for_test
from conftest import train_options

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    source, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):  # a copy: no left-overs of earlier builds
        shutil.copy(ROOT / name, source)
    for name in ('maxl_sr', 'options'):
        shutil.copytree(ROOT / name, source / name)
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
    assert not [name for name in names if name.startswith(('tests', 'scripts', 'options'))]
    assert not [name for name in names if name.lower().endswith(('.png', '.jpg', '.mdb'))]
    assert re.search(r'Requires-Python: (<3\.13,>=3\.10|>=3\.10,<3\.13)\n', metadata)
    assert 'License-Expression: Apache-2.0' in metadata or 'License: Apache-2.0' in metadata


def test_trains_tests_and_finds_its_option_files(wheel, make_pairs, tmp_path):
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
    (home / 'test.yml').write_text(yaml.safe_dump(options_for_test(pairs, home / 'experiments/tiny/models')))
    assert (done := run('maxl_sr.test', '-opt', 'test.yml')).returncode == 0, done.stderr
    assert (home / 'results/tiny_test/tiny.csv').exists()
    done = run('maxl_sr.train', '-opt', 'options/cpu/stage1_maxl.yml')
    assert done.returncode == 2 and 'there is no folder datasets/bsds500/gt' in done.stderr  # the file itself was found
    assert not (home / 'experiments/cpu_stage1_maxl').exists()
    assert torch.load(home / 'experiments/tiny/models/net_g_latest.pth')['params']
