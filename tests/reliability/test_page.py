"""The page against its visitors: who leaves, who floods, who comes from another page; and how it ends."""

import os
import re
import signal
import socket
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

pytest.importorskip('gradio', reason="the extra 'web' is not installed")
from tests.helpers import free_port  # noqa: E402
from tests.processes import kill
from tests.reliability.page_visitors import PATIENCE, PORT, Page, Visitor, in_a_page_folder, upload  # noqa: E402

pytestmark = pytest.mark.slow  # a page that computes


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """A page, started where another one was killed; it is told to end while it computes."""
    folder = tmp_path_factory.mktemp('page')
    kill(in_a_page_folder(folder))
    (folder / 'maxl-sr-notes').mkdir()  # of somebody else
    (folder / 'maxl-sr-notes/a.txt').touch()
    os.symlink(folder / 'maxl-sr-notes', folder / 'maxl-sr-link')
    assert len(list(folder.glob('maxl-sr-*'))) == 3
    page = Page(folder, PORT, '--parallel', '1', '--max-megapixels', '2', '--max-uploads', '3', '--max-file-size', '2')
    assert not page.files() and len(list(folder.glob('maxl-sr-*'))) == 3 and (folder / 'maxl-sr-notes/a.txt').exists()
    yield page
    visitor = Visitor(page)
    visitor.run(upload(visitor, 9))
    visitor.wait_for('progress')
    page.process.send_signal(signal.SIGTERM)
    assert page.process.wait(PATIENCE) == 0
    assert [path.name for path in folder.rglob('*') if path.is_file()] == ['log', 'a.txt']
    assert 'Traceback' not in page.log() and 'Aborted' not in page.log()


def test_cancelled_runs_leave_no_thread_behind(page):
    for seed in range(5):
        visitor = Visitor(page)
        event = visitor.run(upload(visitor, seed))
        visitor.wait_for('progress')
        status, _ = visitor.post('/gradio_api/cancel', {'session_hash': visitor.session, 'fn_index': visitor.index,
                                                        'event_id': event})
        assert status == 200
        visitor.leave()
    page.wait_until_idle(10)
    names = [thread.name() if hasattr(thread, 'name') else '' for thread in psutil.Process(page.process.pid).threads()]
    assert len(names) < 40


@pytest.mark.parametrize('how', ['hangs up', 'never listens'])
def test_a_visitor_who_leaves_does_not_block_the_next_one(page, how):
    first, second = Visitor(page), Visitor(page)
    path = upload(second, 7, side=64)
    if how == 'hangs up':
        first.run(upload(first, 6))
        first.wait_for('progress')
        first.leave()
    else:
        first.join(upload(first, 6))
    began = time.monotonic()
    second.run(path, 0)
    message = second.wait_for('process_completed')
    assert message['success'] and time.monotonic() - began < 15
    page.wait_until_idle(10)


def test_who_stays_is_served_although_others_leave(page):
    stays = Visitor(page)
    stays.run(upload(stays, 8), 3)
    others = [Visitor(page) for _ in range(3)]
    path = upload(others[0], 6)
    for other in others:
        other.run(path)
        other.leave()
    assert stays.wait_for('process_completed')['success']
    page.wait_until_idle(15)


@pytest.mark.parametrize('headers, status', [
    ({'Origin': 'http://example.org'}, 403), ({'Origin': 'null'}, 403), ({'Origin': 'http://127.0.0.1:80'}, 403),
    ({'Origin': f'http://localhost:{PORT}'}, 403), ({'Origin': 'http://127.0.0.1.example.org:7941'}, 403),
    ({'Origin': 'x'}, 403), ({'Origin': 'http://[::1'}, 403), ({'Origin': f'http://user@example.org:{PORT}'}, 403),
    ({'Sec_Fetch_Site': 'cross-site'}, 403), ({'Sec_Fetch_Site': 'same-site'}, 403),
    ({'Host': 'example.org', 'Origin': 'http://example.org'}, 400), ({'Host': f'192.168.1.1:{PORT}'}, 400),
    ({'Host': ''}, 400), ({'Host': f'127.0.0.1.example.org:{PORT}'}, 400),
    ({'Origin': f'http://127.0.0.1:{PORT}'}, 200), ({'Sec_Fetch_Site': 'same-origin'}, 200), ({}, 200),
    ({'Host': f'localhost:{PORT}', 'Origin': f'http://localhost:{PORT}'}, 200),
    ({'Host': f'[::1]:{PORT}', 'Origin': f'http://[::1]:{PORT}'}, 200),
])
def test_only_the_page_itself_may_upload(page, headers, status):
    before = page.uploads()
    found, text = Visitor(page).upload(b'x' * 100, f'{status}.png', **headers)
    assert found == status, text
    if status != 200:
        assert page.uploads() <= before
        assert Visitor(page).post('/gradio_api/queue/join', {}, **headers)[0] == status


def test_uploads_of_a_visitor_are_limited_in_all(page):
    data = os.urandom(900_000)
    answers = [Visitor(page).upload(data[number:]) for number in range(4)]
    assert answers[0][0] in (200, 413) and answers[-1] == (
        413, 'your photographs would be more than 3 MB; close the page to remove them')
    assert page.held() < 3e6
    for path in page.uploads():  # for the tests that follow
        path.unlink(missing_ok=True)
    assert Visitor(page).upload(data)[0] == 200
    for path in page.uploads():
        path.unlink(missing_ok=True)


def test_a_file_that_is_too_large_leaves_nothing(page):
    before = page.uploads()
    status, text = Visitor(page).upload(os.urandom(int(2.2e6)))
    assert status == 413 and page.uploads() <= before


def test_an_upload_that_is_broken_off_leaves_nothing(page):
    before = page.uploads()
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + b'y' * 100000
    with socket.create_connection(('127.0.0.1', PORT)) as connection:
        connection.sendall(f'POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Length: 1000000\r\n'
                           'Content-Type: multipart/form-data; boundary=x\r\n\r\n'.encode() + body)
        until = time.monotonic() + 10
        while page.uploads() <= before and time.monotonic() < until:
            time.sleep(0.05)
        assert not page.uploads() <= before
    until = time.monotonic() + 10
    while not page.uploads() <= before and time.monotonic() < until:
        time.sleep(0.05)
    assert page.uploads() <= before


@pytest.mark.parametrize('length', ['', '-5', '1e3', '٣', 'Transfer-Encoding: chunked'])
def test_an_upload_without_its_length_is_refused(page, length):
    header = length if 'Transfer' in length else f'Content-Length: {length}'
    with socket.create_connection(('127.0.0.1', PORT), timeout=10) as connection:
        connection.sendall(f'POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n{header}\r\n\r\n'.encode())
        assert re.match(rb'HTTP/1.1 4(11|00) ', connection.recv(100))


@pytest.mark.parametrize('host, asked', [('127.1', '127.0.0.1'), ('::ffff:127.0.0.1', '127.0.0.1'),
                                         ('[::1]', '[::1]'), ('Localhost', 'localhost')])
def test_a_page_listens_at_a_loopback_address_in_any_spelling(tmp_path, host, asked):
    port = free_port()
    page = Page(tmp_path, port, '--host', host)
    try:
        assert f'The page is at http://{asked}:{port}/ ' in page.log()
        with urlopen(f'http://{asked}:{port}/') as answer:
            assert answer.status == 200
        with pytest.raises(HTTPError):  # it answers under no other address
            urlopen(Request(f'http://{asked}:{port}/', headers={'Host': f'192.0.2.1:{port}'}))
    finally:
        page.process.terminate()
        assert page.process.wait(PATIENCE) == 0
