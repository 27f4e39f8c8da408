"""Folders of photographs and runs over them, for the tests of what may happen to both."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import maxl_sr.__main__ as command
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.restorer import Restorer

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
