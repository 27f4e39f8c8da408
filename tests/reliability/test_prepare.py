"""Preparing data: whatever is wrong with the images, the disk or the run ends in a sentence and harms nothing."""

import json
import os
import resource
import signal
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import pyvips
from PIL import Image

from maxl_sr import prepare
from maxl_sr.prepare import registration, tiles
from maxl_sr.utils.files import remove_partial_files, replacing
from tests.prepare.layouts import fails, run, save, texture


@pytest.fixture
def pairs(tmp_path):
    for number in range(3):
        for kind in ('gt', 'lq'):
            save(tmp_path / 'in' / kind / f'{number}.png', texture(64, 64, number))
    return tmp_path / 'in'


def png(width, height):
    """A PNG whose header says more than there is."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
            + chunk(b'IDAT', zlib.compress(bytes(100))) + chunk(b'IEND', b''))


# --- images ---


@pytest.mark.parametrize('data', [png(2**31, 2**31), png(0, 5), png(70_000, 1), b'', b'II*\0\x08\0\0\0\xff\xff',
                                  b'\xff'], ids=['overflow', 'empty', 'cut', 'nothing', 'directory', 'byte'])
def test_images_that_cannot_be_read_are_named(pairs, tmp_path, capsys, data):
    (pairs / 'lq/1.png').write_bytes(data)
    assert f'{pairs}/lq/1.png cannot be read as an image' in fails(capsys, 'pairs', pairs, '-o', tmp_path / 'out')


@pytest.mark.parametrize('kind', ['PNG', 'WEBP', 'GIF', 'TIFF', 'deep TIFF'])
def test_images_of_several_pages_are_refused(pairs, tmp_path, capsys, kind):
    path = pairs / 'lq/1.png'  # by its content, whatever its name
    if kind == 'deep TIFF':
        deep = pyvips.Image.new_from_array(texture(128, 64).astype(np.uint16)).copy(interpretation='rgb16')
        deep.write_to_file(f'{path}.tif', page_height=64)
        os.rename(f'{path}.tif', path)
    else:
        first, second = Image.fromarray(texture(64, 64)), Image.fromarray(texture(64, 64, 9))
        first.save(path, kind, save_all=True, append_images=[second])
    assert f'{path} has 2 pages' in fails(capsys, 'pairs', pairs, '-o', tmp_path / 'out')


def test_further_pictures_of_a_photograph_are_told(pairs, tmp_path, capsys):
    first, second = Image.fromarray(texture(64, 64)), Image.fromarray(texture(64, 64, 9))
    first.save(pairs / 'lq/1.png', 'MPO', save_all=True, append_images=[second])
    run('pairs', pairs, '-o', tmp_path / 'out')
    assert f'note: {pairs}/lq/1.png: the further pictures of the file (MPO) are left out' in capsys.readouterr().err


@pytest.mark.parametrize('error', [MemoryError(), cv2.error('Insufficient memory: Failed to allocate 9 bytes')])
@pytest.mark.parametrize('where', ['imdecode', 'imencode'])
def test_want_of_memory_is_told_as_such(pairs, tmp_path, capsys, monkeypatch, where, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(tiles.cv2, where, fail)
    assert f'there is not enough memory {"to read" if where == "imdecode" else "for"} {pairs}/gt/0.png' in \
        fails(capsys, 'pairs', pairs, '-o', tmp_path / 'out')


@pytest.mark.parametrize('size', [(1, 1), (1, 400), (400, 1), (16, 16), (2, 90)])
def test_images_too_small_to_be_registered_are_left_out(pairs, tmp_path, capsys, size):
    for kind in ('gt', 'lq'):
        save(pairs / kind / '1.png', texture(*size))
    assert '1: left out, cannot be registered: 1.png: too small' in \
        run('pairs', pairs, '-o', tmp_path / 'out', '--register', '--match-light')
    with pytest.raises(registration.Unregistrable, match='too small'):
        registration.register(texture(*size), texture(*size))


@pytest.mark.slow
def test_header_of_a_super_resolution_pair_beyond_the_limit(tmp_path, capsys):
    save(tmp_path / 'in/a_LR.png', texture(32, 32))
    for data in (png(30_000, 30_000), png(2**31, 2**31), png(9, 9)[:20]):
        (tmp_path / 'in/a_HR.png').write_bytes(data)
        assert f'{tmp_path}/in/a_HR.png' in fails(capsys, 'sr', tmp_path / 'in', '-o', tmp_path / 'out')


# --- names and paths ---


def test_names_that_leave_none_for_the_tiles(tmp_path, capsys):
    for kind in ('real', 'mean'):
        save(tmp_path / f'in/__{kind}.png', texture(32, 32))
    assert 'leaves no name for its tiles' in fails(capsys, 'nam', tmp_path / 'in', '-o', tmp_path / 'out')


@pytest.mark.parametrize('more', [(), ('--lmdb', )])
def test_names_too_long_for_tiles(pairs, tmp_path, capsys, more):
    for kind in ('gt', 'lq'):
        os.rename(pairs / kind / '2.png', pairs / kind / ('照' * 60 + '.png'))  # an ASCII name for each is u7167
    assert 'gives its tiles a name of 300 characters' in fails(capsys, 'pairs', pairs, '-o', tmp_path / 'out', *more)
    assert not list((tmp_path / 'out').rglob('*.png'))


def test_names_that_are_not_utf8(pairs, tmp_path, capsys):
    for kind in ('gt', 'lq'):
        os.rename(pairs / kind / '1.png', pairs / kind / os.fsdecode(b'caf\xe9.png'))
    run('pairs', pairs, '-o', tmp_path / 'out')
    run('pairs', pairs, '-o', tmp_path / 'lmdb', '--lmdb')
    odd = tmp_path / os.fsdecode(b'out\xff')
    assert 'the name is not UTF-8' in fails(capsys, 'pairs', pairs, '-o', odd, '--lmdb')
    run('pairs', pairs, '-o', odd)


@pytest.mark.parametrize('path', ['', 'a\0b'])
def test_paths_that_are_none(pairs, tmp_path, capsys, path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for argv in (['pairs', path, '-o', 'out'], ['pairs', 'in', '-o', path],
                 ['polyu', 'in', '-o', 'out', '--split', path]):
        with pytest.raises(SystemExit, match='2'):
            prepare.main(argv)
        assert 'must not' in capsys.readouterr().err.splitlines()[-1]
    assert os.listdir(tmp_path) == ['in']


def test_files_where_folders_should_be(pairs, tmp_path, capsys):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/gt').write_text('mine')
    assert f'{tmp_path}/out/gt is no folder' in fails(capsys, 'pairs', pairs, '-o', tmp_path / 'out')
    assert (tmp_path / 'out/gt').read_text() == 'mine'


@pytest.mark.parametrize('content', ['[' * 100_000, '{"train": "abc", "val": []}', '{"train": [], "val": {}}'])
def test_splits_that_are_none(polyu, tmp_path, capsys, content):
    (polyu / 'split.json').write_text(content)
    assert 'is not a split file' in fails(capsys, 'polyu', polyu, '-o', tmp_path / 'out')


def test_a_pipe_is_not_waited_for(polyu, pairs, tmp_path, capsys):
    os.mkfifo(tmp_path / 'pipe')
    assert 'is a named pipe' in fails(capsys, 'polyu', polyu, '-o', tmp_path / 'out', '--split', tmp_path / 'pipe')
    (tmp_path / 'out').mkdir(exist_ok=True)
    os.mkfifo(tmp_path / 'out/manifest.json')
    assert 'is a named pipe' in fails(capsys, 'pairs', pairs, '-o', tmp_path / 'out')


# --- the list of what is done ---


@pytest.mark.parametrize('lmdb', [False, True])
@pytest.mark.parametrize('tiles_', [['../../mine'], ['/etc/x'], ['1/../../../mine'], [[1]], 5, ['2'], ['0.x']])
def test_a_list_that_names_other_files_is_refused(pairs, tmp_path, capsys, tiles_, lmdb):
    save(tmp_path / 'mine.png', texture(8, 8))
    flags = ['--lmdb'] if lmdb else []
    run('pairs', pairs, '-o', tmp_path / 'out', *flags)
    path = tmp_path / 'out' / ('manifest_lmdb.json' if lmdb else 'manifest.json')
    content = json.loads(path.read_text())
    content['images']['0'].update(tiles=tiles_, files=[])
    path.write_text(json.dumps(content))
    assert f'{path} is damaged' in fails(capsys, 'pairs', pairs, '-o', tmp_path / 'out', *flags)
    assert (tmp_path / 'mine.png').is_file()


def test_lists_that_are_none(pairs, tmp_path, capsys):
    run('pairs', pairs, '-o', tmp_path / 'out')
    path = tmp_path / 'out/manifest.json'
    good = json.loads(path.read_text())
    bad = [{'options': good['options'], 'images': images} for images in (None, [], {'0': 5}, {'0': {}}, {'../0': {}})]
    for content in (*bad, {'options': [], 'images': {}}, {'options': None, 'images': {}}, [], None):
        path.write_text(json.dumps(content))
        assert f'{path} is damaged' in fails(capsys, 'pairs', pairs, '-o', tmp_path / 'out')
    path.write_text('[' * 100_000)
    assert f'{path} is damaged' in fails(capsys, 'pairs', pairs, '-o', tmp_path / 'out')


# --- runs ---


def child(pairs, out, *flags):
    process = os.fork()
    if process == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(prepare.main(['pairs', str(pairs), '-o', str(out), '--size', '16', '--jobs', '2', *flags]))
    return process


def images_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*')
            if path.is_file() and path.suffix in ('.png', '.txt')}


@pytest.mark.slow
@pytest.mark.parametrize('flags', [[], ['--lmdb']])
def test_killed_runs_leave_nothing_behind(pairs, tmp_path, flags):
    prepare.run(['pairs', str(pairs), '-o', str(tmp_path / 'whole'), '--size', '16', *flags])
    for number in range(6):
        out = tmp_path / f'out{number}'
        process = child(pairs, out, *flags)
        time.sleep(0.01 + 0.02 * number)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        prepare.run(['pairs', str(pairs), '-o', str(out), '--size', '16', *flags])
        assert images_in(out) == images_in(tmp_path / 'whole')
        assert not [path for path in out.rglob('*') if 'partial' in path.name or path.name.startswith('.')]


def test_half_written_files_are_known_from_the_first_moment(tmp_path):
    """Killed at any moment, a writer leaves nothing that the next run does not know as a half-written file."""
    left = set()
    for number in range(30):
        process = os.fork()
        if process == 0:
            while True:
                with replacing(tmp_path / 'a.png') as partial:
                    partial.write_bytes(b'x')
        time.sleep(0.002 + 0.0005 * number)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        left |= {path.name for path in tmp_path.iterdir()} - {'a.png'}
        remove_partial_files([tmp_path])
        assert {path.name for path in tmp_path.iterdir()} <= {'a.png'}
    assert all('.partial' in name for name in left)


def test_a_writer_and_one_who_clears_away_do_not_meet(tmp_path):
    process = os.fork()
    if process == 0:
        while True:
            remove_partial_files([tmp_path])
    try:
        for number in range(300):
            with replacing(tmp_path / 'a.png') as partial:
                partial.write_bytes(b'%d' % number)
            assert (tmp_path / 'a.png').read_bytes() == b'%d' % number
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@pytest.mark.parametrize('flags', [[], ['--lmdb']])
def test_one_process_an_output(pairs, tmp_path, flags):
    processes = [child(pairs, tmp_path / 'out', *flags) for _ in range(4)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    assert 0 in codes and set(codes) <= {0, 2}
    prepare.run(['pairs', str(pairs), '-o', str(tmp_path / 'whole'), '--size', '16', *flags])
    assert images_in(tmp_path / 'out') == images_in(tmp_path / 'whole')


@pytest.mark.parametrize('flags, told', [([], 'out/gt/0_s001.png: File too large'), (['--lmdb'], 'gt.lmdb')])
def test_a_full_disk_names_the_file(pairs, tmp_path, capsys, flags, told):
    """Files may not grow beyond some bytes: writing them ends as on a full disk."""
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, limits[1]))
    try:
        assert prepare.main(['pairs', str(pairs), '-o', str(tmp_path / 'out'), '--size', '64', *flags]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert not [path for path in Path(tmp_path / 'out').rglob('*') if path.suffix in ('.png', '.mdb')]


def test_formats_that_are_not_read_are_told(pairs, tmp_path, capsys):
    for name in ('gt/a.heic', 'gt/b.HEIC', 'lq/c.avif', 'lq/.hidden.heic', 'lq/notes.txt'):
        (pairs / name).write_bytes(b'x')
    assert 'skipped: 1 .avif, 2 .heic (' in run('pairs', pairs, '-o', tmp_path / 'out')
    (tmp_path / 'phone').mkdir()
    (tmp_path / 'phone/1.heic').write_bytes(b'x')
    told = fails(capsys, 'div2k', tmp_path / 'phone', '-o', tmp_path / 'out2')
    assert 'No image for div2k was found in ' in told and told.endswith('(skipped: 1 .heic)')
