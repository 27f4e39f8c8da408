"""Folders of photographs and commands on them."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

import maxl_sr.__main__ as command
from tests.photo_runs import photograph
from tests.prepare.layouts import polyu  # noqa: F401


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
