"""The page, driven in a browser: upload, run, slider, download; sessions and limits."""

import argparse
import re
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from tests.web.visitor import by_command_line

gradio = pytest.importorskip('gradio', reason="the extra 'web' is not installed")
web = pytest.importorskip('maxl_sr.web')


@pytest.mark.slow
@pytest.mark.browser
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


@pytest.mark.slow
def test_other_hosts_are_neither_asked_nor_answered(server):
    port = server[0].rpartition(':')[2]
    for host, code in ((f'127.0.0.1:{port}', 200), (f'localhost:{port}', 200), ('example.org', 400)):
        request = urllib.request.Request(server[0], headers={'Host': host})
        try:
            with urllib.request.urlopen(request) as answer:
                assert answer.status == code
                assert answer.headers['Content-Security-Policy'].startswith("default-src 'self'")
        except urllib.error.HTTPError as error:
            assert error.code == code


@pytest.mark.slow
@pytest.mark.browser
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


@pytest.mark.slow
@pytest.mark.browser
def test_the_mask_is_shown_where_there_is_one(visit, photos):
    visitor = visit()
    visitor.restore(photos['turned.jpg'], 'paper', 2)
    visitor.page.wait_for_selector('#mask img')
    visitor = visit()
    visitor.restore(photos['deep.tif'], 'sr_x2', None)
    assert not visitor.page.locator('#mask img').count()
    size = visitor.page.eval_on_selector('#slider img', 'image => [image.naturalWidth, image.naturalHeight]')
    assert size == [384, 256]


@pytest.mark.slow
@pytest.mark.browser
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


@pytest.mark.slow
@pytest.mark.browser
def test_an_example(visit):
    visitor = visit()
    visitor.page.click('text=Example: coffee')
    visitor.page.wait_for_selector('#photo >> text=coffee')
    visitor.page.click('#run')
    visitor.page.wait_for_selector('text=coffee.jpg has 0.2 megapixels, this page takes 0.1')


@pytest.mark.slow
@pytest.mark.browser
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
