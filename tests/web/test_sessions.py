"""Sessions of the page and their files."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.web.visitor import PATIENCE, Visitor, browser_api, by_command_line

web = pytest.importorskip('maxl_sr.web')


@pytest.mark.slow
@pytest.mark.browser
def test_two_browsers_at_once(server, photos, tmp_path):
    def use(name):  # a thread of Playwright each
        with browser_api.sync_playwright() as playwright:
            visitor = Visitor(playwright, server[0])
            visitor.restore(photos[name])
            target, pictures = visitor.download(tmp_path), visitor.pictures()
            visitor.browser.close()
            return target, pictures

    with ThreadPoolExecutor(2) as pool:
        (first, pictures), (second, others) = pool.map(use, photos)
    assert first.read_bytes() == by_command_line(photos['turned.jpg'], tmp_path, '--steps', '3').read_bytes()
    assert second.read_bytes() == by_command_line(photos['deep.tif'], tmp_path, '--steps', '3').read_bytes()
    assert not set(pictures) & set(others)
    until = time.monotonic() + PATIENCE  # they have left: their files go
    while (left := files(server[1])) and time.monotonic() < until:
        time.sleep(0.5)
    assert not left


def files(folder):
    return [path for path in folder.glob('maxl-sr-*/files/**/*') if path.is_file() and path.stat().st_size]


def test_files_go_with_the_last_session_that_has_them(tmp_path):
    sessions = web.Sessions(tmp_path)
    (tmp_path / 'hash').mkdir()
    (tmp_path / 'hash/photo.png').touch()
    for name in ('a', 'b'):
        sessions.uploaded(name, tmp_path / 'hash/photo.png')
        (sessions.new_folder(name) / f'{name}.png').touch()
    sessions.end('a')
    assert {path.name for path in tmp_path.rglob('*.png')} == {'photo.png', 'b.png'}
    sessions.end('b')
    sessions.end('nobody')
    assert not list(tmp_path.iterdir())


def test_the_name_of_a_session_is_no_path(tmp_path):
    for path in ('files', 'other'):
        (tmp_path / path).mkdir()
    (tmp_path / 'other/photo.png').touch()
    (tmp_path / 'files/photo.png').touch()
    sessions = web.Sessions(tmp_path / 'files')
    for name in (str(tmp_path / 'other'), '..', '../other', '.', ''):
        assert sessions.new_folder(name).parent == tmp_path / 'files'
        sessions.uploaded(name, tmp_path / 'other/photo.png')
        sessions.uploaded(name, tmp_path / 'files/photo.png')
        sessions.end(name)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*')) == [
        'files', 'files/photo.png', 'other', 'other/photo.png']


@pytest.mark.slow
def test_a_photograph_may_be_called_as_the_pictures_are(tmp_path):
    (tmp_path / 'result').mkdir()
    Image.new('RGB', (40, 30), 'teal').save(tmp_path / 'after.jpg')
    *_, target = web.restore(tmp_path / 'after.jpg', 'fast', 0, True, tmp_path / 'result', web.Limits(),
                             ('cpu', 'float32'),
                             lambda *_, **__: None)
    expected = by_command_line(tmp_path / 'after.jpg', tmp_path, '--steps', '0', '--precision', 'float32')
    assert Path(target).read_bytes() == expected.read_bytes()
