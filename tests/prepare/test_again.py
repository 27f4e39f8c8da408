"""A second run, an interrupted one, and one that does not go with what is there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from maxl_sr import prepare
from maxl_sr.prepare import outputs, tiles
from tests.helpers import ROOT
from tests.prepare.layouts import fails, names, read, run, save, state, texture


def test_second_run_does_only_what_is_missing(nam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / 'out'
    command = ('nam', nam, '-o', out, '--size', 16)
    run(*command)
    before = state(out)
    assert len(before) == 2 * 2 * 9
    left = out / 'gt' / f'.{"0" * 32}.partial.png'
    left.write_bytes(b'of a kill')
    with monkeypatch.context() as patch:
        patch.setattr(tiles, 'read', lambda path: pytest.fail(f'{path} was read'))
        assert '0 tiles written, 18 already there' in run(*command)
    assert state(out) == before
    assert not left.exists()

    lost = out / 'lq' / 'd800_1_s005.png'
    pixels = read(lost)
    lost.unlink()
    assert '1 tiles written, 17 already there' in run(*command)
    np.testing.assert_array_equal(read(lost), pixels)
    after = state(out)
    assert {path for path in before if after[path] != before[path]} == {str(lost)}

    for kind in ('real', 'mean'):  # the source becomes smaller: its old tiles go
        save(nam / f'd800_1_{kind}.png', texture(16, 32))
    assert '2 tiles written, 9 already there' in run(*command)
    assert len(names(out / 'gt')) == len(names(out / 'lq')) == 11


def test_interrupted_run_continues(nam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, write = tmp_path / 'out', tiles.write

    def stop(path: Path, data: bytes) -> None:
        if path.name == 'd800_1_s003.png':
            raise KeyboardInterrupt
        write(path, data)

    command = ['nam', str(nam), '-o', str(out), '--size', '16', '--jobs', '1']
    with monkeypatch.context() as patch:
        patch.setattr(tiles, 'write', stop)
        assert prepare.main(command) == 130
    assert prepare.run(command).startswith('2 images: 9 tiles written, 9 already there')
    assert len(names(out / 'gt')) == len(names(out / 'lq')) == 18


def test_other_options_or_images_are_refused(nam: Path, polyu: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'out'
    for extra in ([], ['--lmdb']):
        command = ('nam', nam, '-o', out, *extra, '--size')
        run(*command, 16)
        message = fails(capsys, *command, 32)
        assert str(out) in message and 'size 16 (now 32)' in message and 'use another -o' in message
        assert 'step 16 (now 8)' in fails(capsys, *command, 16, '--step', 8)
        assert 'max-shift 0.0 (now 0.5)' in fails(capsys, *command, 16, '--max-shift', .5)
    train = ('polyu', polyu, '-o', tmp_path / 'p', '--size', 32, '--subset', 'train')
    run(*train)
    assert 'holds tiles of A_toy' in fails(capsys, *train[:-1], 'val')
    save(tmp_path / 'foreign' / 'gt' / 'x.png', texture(16, 16))
    assert str(tmp_path / 'foreign' / 'gt') in fails(capsys, 'nam', nam, '-o', tmp_path / 'foreign')
    (out / 'manifest.json').write_text('{')
    assert str(out / 'manifest.json') in fails(capsys, 'nam', nam, '-o', out, '--size', 16)


def test_lmdb_equals_folders(nam: Path, tmp_path: Path) -> None:
    from basicsr.data.data_util import paired_paths_from_lmdb
    from basicsr.utils import FileClient, imfrombytes
    out = tmp_path / 'out'
    run('nam', nam, '-o', out, '--size', 16)
    command = ('nam', nam, '-o', out, '--size', 16, '--lmdb')
    assert '18 tiles written' in run(*command)
    folders = [str(out / 'lq.lmdb'), str(out / 'gt.lmdb')]
    pairs = paired_paths_from_lmdb(folders, ['lq', 'gt'])
    assert [f'{pair["lq_path"]}.png' for pair in pairs] == names(out / 'lq')
    client = FileClient('lmdb', db_paths=folders, client_keys=['lq', 'gt'])
    for pair in pairs:
        for kind in ('lq', 'gt'):
            key = pair[f'{kind}_path']
            np.testing.assert_array_equal(imfrombytes(client.get(key, kind)), read(out / kind / f'{key}.png'))
    assert (out / 'gt.lmdb' / 'meta_info.txt').read_text().splitlines()[0] == 'd600_x_2_s001.png (16,16,3) 1'

    before = (out / 'gt.lmdb' / 'data.mdb').stat()
    assert '0 tiles written, 18 already there' in run(*command)
    assert (out / 'gt.lmdb' / 'data.mdb').stat().st_mtime_ns == before.st_mtime_ns
    os.utime(nam / 'd800_1_real.png', (1, 1))
    assert '18 tiles written, 0 already there' in run(*command)
    assert not list(out.glob('*partial*'))


def test_interrupted_lmdb_leaves_no_final_one(nam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = outputs.GrowingLmdbMaker.put

    def stop(self: outputs.GrowingLmdbMaker, data: bytes, key: str, shape: tuple[int, ...]) -> None:
        if key == 'd800_1':
            raise KeyboardInterrupt
        put(self, data, key, shape)

    out = tmp_path / 'out'
    with monkeypatch.context() as patch:
        patch.setattr(outputs.GrowingLmdbMaker, 'put', stop)
        assert prepare.main(['nam', str(nam), '-o', str(out), '--lmdb', '--jobs', '1']) == 130
    assert names(out) == ['manifest_lmdb.json']
    (out / 'gt.partial.lmdb').mkdir()  # as a kill would leave it
    run('nam', nam, '-o', out, '--lmdb')
    assert names(out) == ['gt.lmdb', 'lq.lmdb', 'manifest_lmdb.json']


@pytest.mark.slow
@pytest.mark.skipif(os.name == 'nt', reason='sends SIGINT to a process group')
def test_ctrl_c_in_a_real_run(tmp_path: Path) -> None:
    save(tmp_path / 'in' / '000.png', texture(400, 400))
    for i in range(1, 60):
        shutil.copy(tmp_path / 'in' / '000.png', tmp_path / 'in' / f'{i:03d}.png')
    out = tmp_path / 'out'
    command = ['div2k', str(tmp_path / 'in'), '-o', str(out), '--size', '80', '--step', '40']
    process = subprocess.Popen([sys.executable, '-m', 'maxl_sr.prepare', *command, '--jobs', '2'], text=True,
                               stderr=subprocess.PIPE, start_new_session=True, cwd=ROOT,
                               # what a shell starts in the background inherits that the signal is ignored
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end and not list(out.glob('gt/005*.png')):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert 'Traceback' not in err
    done = json.loads((out / 'manifest.json').read_text())['images']
    assert 0 < len(done) < 60
    assert f'{(60 - len(done)) * 9 * 9} tiles written' in prepare.run([*command, '--jobs', '1'])
