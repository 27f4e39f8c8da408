"""The page, driven in a browser: upload, run, slider, download; sessions and limits."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

gradio = pytest.importorskip('gradio', reason="the extra 'web' is not installed")
web = pytest.importorskip('maxl_sr.web')
browser_api = pytest.importorskip('playwright.sync_api', reason='Playwright is not installed')

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
PATIENCE = 60  # seconds
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason='there is no Chromium')


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """The address of a running page, and the folder in which it may make temporary ones."""
    folder = tmp_path_factory.mktemp('server')
    command = [sys.executable, '-m', 'maxl_sr', 'web', '--port', '7917', '--device', 'cpu', '--parallel', '2',
               '--max-megapixels', '0.1']
    with open(folder / 'log', 'w') as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, 'TMPDIR': str(folder)})
    address, until = None, time.monotonic() + PATIENCE
    while address is None and process.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
        address = re.search(r'http://127\.0\.0\.1:\d+', (folder / 'log').read_text())
    assert address is not None, (folder / 'log').read_text()
    yield address[0], folder
    process.send_signal(signal.SIGHUP)  # the terminal was closed; SIGTERM and Ctrl-C are the same
    assert process.wait(PATIENCE) == 0
    assert [path.name for path in folder.rglob('*') if path.is_file()] == ['log']  # nothing stays


@pytest.fixture
def photos(tmp_path):
    """Two photographs: a JPEG that is turned, with a profile; a TIFF of 16 bits."""
    rng, exif = np.random.default_rng(0), Image.Exif()
    exif[0x0112] = 6
    clean = np.kron(rng.random((8, 12, 3)), np.ones((16, 16, 1)))
    noisy = (clean + rng.normal(0, 0.1, clean.shape)).clip(0, 1)
    Image.fromarray((noisy * 255).round().astype(np.uint8)).save(tmp_path / 'turned.jpg', quality=60, exif=exif)
    deep = pyvips.Image.new_from_array((noisy * 65535).round().astype(np.uint16)).copy(interpretation='rgb16')
    deep.write_to_file(str(tmp_path / 'deep.tif'))
    return {name: tmp_path / name for name in ('turned.jpg', 'deep.tif')}


class Visitor:
    """Someone with the page open."""

    def __init__(self, playwright, address):
        self.browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox', '--disable-gpu'])
        self.page = self.browser.new_page(viewport={'width': 1300, 'height': 1000})
        self.page.set_default_timeout(PATIENCE * 1000)
        self.requests = []
        self.page.on('request', lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector('#run')

    def upload(self, path):
        self.page.set_input_files('#photo input[type=file]', path)
        self.page.wait_for_selector(f'#photo >> text={path.suffix}')

    def restore(self, path, preset='fast', steps=3):
        self.upload(path)
        if preset != 'fast':
            self.page.click('#preset input')
            self.page.click(f'[role=option]:has-text("{preset}")')
            self.page.wait_for_function("document.querySelector('#steps input[type=number]').value != '20'")
        if steps is not None:
            self.page.fill('#steps input[type=number]', str(steps))
            self.page.press('#steps input[type=number]', 'Tab')
        self.page.click('#run')
        self.page.wait_for_selector('#figures >> text=pixels')
        return self.page.inner_text('#figures')

    def download(self, folder):
        with self.page.expect_download() as expected:
            self.page.click('#download')
        target = folder / 'downloads' / expected.value.suggested_filename
        expected.value.save_as(target)
        return target

    def pictures(self):
        """Addresses of the pictures before and after."""
        self.page.wait_for_selector('#slider img')
        return self.page.eval_on_selector_all('#slider img', 'images => images.map(image => image.src)')


@pytest.fixture
def visit(server):
    """Open the page in a browser of its own."""
    opened = []
    with browser_api.sync_playwright() as playwright:
        def visit():
            opened.append(Visitor(playwright, server[0]))
            return opened[-1]

        yield visit
        for visitor in opened:
            visitor.browser.close()


def by_command_line(path, folder, *arguments):
    subprocess.run([sys.executable, '-m', 'maxl_sr', 'denoise', path, '-o', folder / 'cli', '--device', 'cpu',
                    *arguments], check=True, capture_output=True)
    return folder / 'cli' / path.name


@needs_browser
@pytest.mark.parametrize('name', ['turned.jpg', 'deep.tif'])
def test_a_photograph_is_restored_as_by_the_command_line(visit, photos, tmp_path, name):
    visitor = visit()
    figures = visitor.restore(photos[name])
    assert re.fullmatch(r'192 × 128 pixels · (adapted|3 steps, none kept|not adapted).* · [\d.]+ s', figures.strip())
    target = visitor.download(tmp_path)
    assert target.name == name
    assert target.read_bytes() == by_command_line(photos[name], tmp_path, '--steps', '3').read_bytes()
    if 'not adapted' not in figures:
        visitor.page.wait_for_selector('#losses svg')
    assert all(url.startswith((visitor.page.url, 'data:', 'blob:')) for url in visitor.requests)
    size = visitor.page.eval_on_selector('#slider img', 'image => [image.naturalWidth, image.naturalHeight]')
    assert size == ([128, 192] if name == 'turned.jpg' else [192, 128])  # upright


def test_other_hosts_are_neither_asked_nor_answered(server):
    for host, code in (('127.0.0.1:7917', 200), ('localhost:7917', 200), ('example.org', 400)):
        request = urllib.request.Request(server[0], headers={'Host': host})
        try:
            with urllib.request.urlopen(request) as answer:
                assert answer.status == code
                assert answer.headers['Content-Security-Policy'].startswith("default-src 'self'")
        except urllib.error.HTTPError as error:
            assert error.code == code


@needs_browser
def test_the_slider_moves(visit, photos):
    visitor = visit()
    visitor.restore(photos['turned.jpg'], steps=0)
    after = visitor.page.locator('#slider img').nth(1)
    box = visitor.page.locator('#slider img').first.bounding_box()
    middle = box['y'] + box['height'] / 2

    def covered():
        return float(re.search(r'inset\(0(?:px)? 0(?:px)? 0(?:px)? ([\d.]+)%', after.get_attribute('style'))[1])

    assert covered() == pytest.approx(50, abs=1)
    visitor.page.mouse.move(box['x'] + box['width'] / 2, middle)
    visitor.page.mouse.down()
    visitor.page.mouse.move(box['x'] + box['width'] * 0.8, middle, steps=5)
    visitor.page.mouse.up()
    assert 70 < covered() < 90


@needs_browser
def test_the_mask_is_shown_where_there_is_one(visit, photos):
    visitor = visit()
    visitor.restore(photos['turned.jpg'], 'paper', 2)
    visitor.page.wait_for_selector('#mask img')
    visitor = visit()
    visitor.restore(photos['deep.tif'], 'sr_x2', None)
    assert not visitor.page.locator('#mask img').count()
    size = visitor.page.eval_on_selector('#slider img', 'image => [image.naturalWidth, image.naturalHeight]')
    assert size == [384, 256]


@needs_browser
def test_a_computation_can_be_stopped(visit, photos):
    visitor = visit()
    visitor.upload(photos['turned.jpg'])
    visitor.page.fill('#steps input[type=number]', '50')
    visitor.page.press('#steps input[type=number]', 'Tab')
    visitor.page.uncheck('input[type=checkbox]')
    visitor.page.click('#run')
    visitor.page.wait_for_selector('text=/step \\d+ of 50/')
    visitor.page.click('#stop')
    visitor.page.wait_for_selector('text=stopped')
    assert 'pixels' not in visitor.page.inner_text('#figures')
    visitor.page.fill('#steps input[type=number]', '1')
    visitor.page.press('#steps input[type=number]', 'Tab')
    visitor.page.click('#run')
    visitor.page.wait_for_selector('#figures >> text=pixels')


@needs_browser
def test_an_example(visit):
    visitor = visit()
    visitor.page.click('text=Example: coffee')
    visitor.page.wait_for_selector('#photo >> text=coffee')
    visitor.page.click('#run')
    visitor.page.wait_for_selector('text=coffee.jpg has 0.2 megapixels, this page takes 0.1')


@needs_browser
def test_what_cannot_be_restored_is_named_without_the_folders_of_the_server(visit, tmp_path):
    visitor = visit()
    visitor.page.click('#run')
    visitor.page.wait_for_selector('text=choose a photograph first')
    (tmp_path / 'text.png').write_text('no image')
    visitor.upload(tmp_path / 'text.png')
    visitor.page.click('#run')
    told = visitor.page.wait_for_selector('text=cannot read the image').inner_text()
    assert 'text.png' in told and '/' not in told
    Image.new('RGBA', (20, 20)).save(tmp_path / 'clear.png')
    (tmp_path / 'clear.png').rename(tmp_path / 'clear.jpg')
    visitor = visit()
    visitor.upload(tmp_path / 'clear.jpg')
    visitor.page.click('#run')
    told = visitor.page.wait_for_selector('text=cannot hold an alpha channel').inner_text()
    assert told.strip().startswith('clear.jpg: .jpg cannot')


@needs_browser
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


def test_a_photograph_may_be_called_as_the_pictures_are(tmp_path):
    (tmp_path / 'result').mkdir()
    Image.new('RGB', (40, 30), 'teal').save(tmp_path / 'after.jpg')
    *_, target = web.restore(tmp_path / 'after.jpg', 'fast', 0, True, tmp_path / 'result', web.Limits(),
                             ('cpu', 'auto'), lambda *_, **__: None)
    assert Path(target).read_bytes() == by_command_line(tmp_path / 'after.jpg', tmp_path, '--steps', '0').read_bytes()


def test_what_would_become_too_large_is_refused(tmp_path):
    Image.new('RGB', (600, 500)).save(tmp_path / 'in.png')
    arguments = (5, True, tmp_path, web.Limits(megapixels=0.5), ('cpu', 'auto'), lambda *_, **__: None)
    with pytest.raises(ValueError, match='in.png enlarged by 4 would have 5 megapixels, this page makes 2'):
        web.restore(tmp_path / 'in.png', 'sr_x4', *arguments)
    with pytest.raises(ValueError, match="preset 'slow' or number of steps 5 is none of the page"):
        web.restore(tmp_path / 'in.png', 'slow', *arguments)


@pytest.mark.parametrize('arguments, message', [
    (('--queue', '0'), '--queue must be greater than 0, not 0'),
    (('--max-megapixels', '-1'), '--max-megapixels must be greater than 0, not -1.0'),
    (('--port', '70000'), '--port must be from 1 to 65535, not 70000'),
    (('--device', 'abacus'), "device 'abacus' is unknown"),
    (('--host', '192.0.2.1', '--port', '7918'), 'error: '),  # an address of no machine
])
def test_mistakes_are_named(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(signal, 'signal', lambda *_: None)
    monkeypatch.setenv('GRADIO_TEMP_DIR', '')
    assert web.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_without_gradio_the_extra_is_named(monkeypatch, capsys):
    import maxl_sr.__main__ as command
    monkeypatch.setitem(sys.modules, 'gradio', None)
    for name in [name for name in sys.modules if name.startswith('maxl_sr.web.')]:
        monkeypatch.delitem(sys.modules, name)
    assert command.main(['web', '--port', '7933']) == 2
    assert "maxl-sr web needs pip install 'maxl_sr[web]'" in capsys.readouterr().err


def test_it_listens_on_the_loopback_address_alone():
    from maxl_sr.commands.web import add_arguments
    from maxl_sr.web import server
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args([]).host == '127.0.0.1'
    assert Path(server.__file__).read_text(encoding='utf-8').count('share=False') == 1
