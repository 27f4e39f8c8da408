"""The page against its visitors: who leaves, who floods, who comes from another page; and how it ends."""

import asyncio
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

pytest.importorskip('gradio', reason="the extra 'web' is not installed")
web = pytest.importorskip('maxl_sr.web')
from maxl_sr.web import runs as runs_module  # noqa: E402
from maxl_sr.web import sessions as sessions_module  # noqa: E402
from maxl_sr.web.folder import LOCK, page_folder, remove_stale_folders  # noqa: E402
from maxl_sr.web.middleware import Door, known_names  # noqa: E402
from maxl_sr.web.runs import Runs, StoppedError  # noqa: E402
from maxl_sr.web.server import _check, _parser  # noqa: E402
from maxl_sr.web.sessions import Sessions, Uploads  # noqa: E402

PATIENCE = 60  # seconds
PORT = 7941


class Page:
    """A running page in a process of its own."""

    def __init__(self, folder, port, *arguments):
        self.folder, self.port = folder, port
        with open(folder / 'log', 'a') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'maxl_sr', 'web', '--port', str(port), '--device', 'cpu', *arguments],
                stdout=log, stderr=log, env={**os.environ, 'TMPDIR': str(folder)})
        until = time.monotonic() + PATIENCE
        while f':{port}' not in self.log() and self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        assert f':{port}' in self.log(), self.log()

    def log(self):
        return (self.folder / 'log').read_text()

    def files(self):
        return [path for path in self.folder.glob('maxl-sr-*/files/**/*') if path.is_file()]

    def busy(self, seconds=1.0):
        """Processor seconds a second."""
        process = psutil.Process(self.process.pid)
        process.cpu_percent()
        time.sleep(seconds)
        return process.cpu_percent() / 100

    def wait_until_idle(self, within):
        until = time.monotonic() + within
        while time.monotonic() < until:
            if self.busy(0.7) < 0.3:
                return
        raise AssertionError(f'still busy after {within} s')


class Visitor:
    """Somebody who knows how the page talks with its server."""

    def __init__(self, page):
        self.page, self.session, self.stream = page, uuid.uuid4().hex, None

    def request(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection('127.0.0.1', self.page.port, timeout=PATIENCE)
        connection.request(method, path, body, {'Content-Type': 'application/json',
                                                **{key.replace('_', '-'): value for key, value in headers.items()}})
        answer = connection.getresponse()
        return answer, connection

    def post(self, path, body, **headers):
        answer, connection = self.request('POST', path, json.dumps(body), **headers)
        text = answer.read()
        connection.close()
        return answer.status, text

    def upload(self, data, name='photo.png', **headers):
        boundary = uuid.uuid4().hex
        body = (f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
                'Content-Type: image/png\r\n\r\n').encode() + data + f'\r\n--{boundary}--\r\n'.encode()
        answer, connection = self.request('POST', '/gradio_api/upload', body,
                                          **{'Content_Type': f'multipart/form-data; boundary={boundary}', **headers})
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def join(self, path, steps=50):
        answer, connection = self.request('GET', '/config')
        config = json.loads(answer.read())
        connection.close()
        self.index = next(part['id'] for part in config['dependencies'] if len(part['inputs']) == 4)
        data = [{'path': path, 'meta': {'_type': 'gradio.FileData'}}, 'fast', steps, False]
        status, text = self.post('/gradio_api/queue/join', {'data': data, 'fn_index': self.index,
                                                            'session_hash': self.session})
        assert status == 200, text
        return json.loads(text)['event_id']

    def listen(self):
        self.stream, self.connection = self.request('GET', f'/gradio_api/queue/data?session_hash={self.session}')

    def wait_for(self, *kinds):
        while True:
            line = self.stream.readline().decode()
            assert line, 'the stream has ended'
            if line.startswith('data: '):
                message = json.loads(line[6:])
                if message['msg'] in kinds:
                    return message

    def run(self, path, steps=50):
        event = self.join(path, steps)
        self.listen()
        return event

    def leave(self):
        self.connection.sock and self.connection.sock.close()
        self.stream.close()
        self.connection.close()


def in_a_page_folder(folder):
    """A process that has the folder of a page, as one that serves it."""
    child = os.fork()
    if child:
        until = time.monotonic() + PATIENCE
        while not list(folder.glob('*/files/photo.png')) and time.monotonic() < until:
            time.sleep(0.02)
        return child
    try:
        tempfile.tempdir = str(folder)
        with page_folder() as root:
            (root / 'files').mkdir()
            (root / 'files/photo.png').write_text('somebody')
            time.sleep(600)
    finally:
        os._exit(0)


def kill(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


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


def photograph(seed, side=400):
    rng, file = np.random.default_rng(seed), io.BytesIO()
    Image.fromarray(rng.integers(100, 140, (side, side, 3), np.uint8)).save(file, 'JPEG', quality=70)
    return file.getvalue()


def upload(visitor, seed, **options):
    status, text = visitor.upload(photograph(seed, **options), 'photo.jpg')
    assert status == 200, text
    return json.loads(text)[0]


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
    before = len(page.files())
    found, text = Visitor(page).upload(b'x' * 100, f'{status}.png', **headers)
    assert found == status, text
    if status != 200:
        assert len(page.files()) == before
        assert Visitor(page).post('/gradio_api/queue/join', {}, **headers)[0] == status


def test_uploads_of_a_visitor_are_limited_in_all(page):
    held = sum(path.stat().st_size for path in page.files())
    data = os.urandom(int((3e6 - held) / 2.5))
    visitor = Visitor(page)
    codes = [visitor.upload(data[number:])[0] for number in range(4)]
    assert codes == [200, 200, 413, 413]
    status, text = visitor.upload(data)
    assert status == 413 and text == 'your photographs would be more than 3 MB; close the page to remove them'
    assert sum(path.stat().st_size for path in page.files()) < 3e6
    for path in page.files():  # for the tests that follow
        path.unlink()


def test_a_file_that_is_too_large_leaves_nothing(page):
    before = page.files()
    status, text = Visitor(page).upload(os.urandom(int(2.2e6)))
    assert status == 413 and page.files() == before


def test_an_upload_that_is_broken_off_leaves_nothing(page):
    before = set(page.files())
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + b'y' * 100000
    with socket.create_connection(('127.0.0.1', PORT)) as connection:
        connection.sendall(f'POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Length: 1000000\r\n'
                           'Content-Type: multipart/form-data; boundary=x\r\n\r\n'.encode() + body)
        until = time.monotonic() + 10
        while set(page.files()) == before and time.monotonic() < until:
            time.sleep(0.05)
        assert set(page.files()) != before
    until = time.monotonic() + 10
    while set(page.files()) != before and time.monotonic() < until:
        time.sleep(0.05)
    assert set(page.files()) == before


@pytest.mark.parametrize('length', ['', '-5', '1e3', '٣', 'Transfer-Encoding: chunked'])
def test_an_upload_without_its_length_is_refused(page, length):
    header = length if 'Transfer' in length else f'Content-Length: {length}'
    with socket.create_connection(('127.0.0.1', PORT), timeout=10) as connection:
        connection.sendall(f'POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n{header}\r\n\r\n'.encode())
        assert re.match(rb'HTTP/1.1 4(11|00) ', connection.recv(100))


# ---- the parts ----------------------------------------------------------------------------------------------------

def test_the_folder_of_a_page_that_runs_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    child = in_a_page_folder(tmp_path)
    assert remove_stale_folders(tmp_path) == 0 and len(list(tmp_path.glob(f'*/{LOCK}'))) == 1
    with page_folder() as root:
        assert len(list(tmp_path.iterdir())) == 2
    assert not root.exists()
    kill(child)
    assert remove_stale_folders(tmp_path) == 1 and not list(tmp_path.iterdir())


def test_no_more_compute_than_are_allowed_whatever_is_cancelled(monkeypatch):
    monkeypatch.setattr(runs_module, 'GRACE', 60.0)
    runs, lock, most, now, ended = Runs(2), threading.Lock(), 0, 0, 0

    def work(check):
        nonlocal most, now, ended
        with lock:
            now += 1
            most = max(most, now)
        try:
            for _ in range(20):
                time.sleep(0.01)
                check()
        finally:
            with lock:
                now -= 1
                ended += 1
        return 'done'

    async def visit():
        tasks = [asyncio.create_task(runs.run(f'{number}', work)) for number in range(20)]
        await asyncio.sleep(0.05)
        for task in tasks[:15]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(visit())
    assert results[15:] == ['done'] * 5 and most == 2 and ended <= 7
    assert all(isinstance(result, asyncio.CancelledError) for result in results[:15])
    assert runs.end(10) and now == 0
    with pytest.raises(StoppedError):
        asyncio.run(runs.run('late', work))


@pytest.mark.parametrize('how', ['stop', 'leave', 'end'])
def test_a_computation_ends_at_its_next_step(monkeypatch, how):
    monkeypatch.setattr(runs_module, 'GRACE', 0.1)
    runs = Runs(1)
    runs.opened('me')

    def work(check):
        while True:
            time.sleep(0.01)
            check()

    async def visit():
        task = asyncio.create_task(runs.run('me', work))
        await asyncio.sleep(0.3)
        assert not task.done()
        {'stop': lambda: runs.stop('me'), 'leave': lambda: runs.closed('me'), 'end': lambda: runs.end(10)}[how]()
        with pytest.raises(StoppedError):
            await asyncio.wait_for(task, 10)

    asyncio.run(visit())


def test_one_result_of_a_session_is_kept(tmp_path):
    sessions = Sessions(tmp_path)
    first = sessions.new_folder('a')
    sessions.keep_one_result('a', first, True)
    failed = sessions.new_folder('a')
    sessions.keep_one_result('a', failed, False)
    assert first.exists() and not failed.exists()
    second = sessions.new_folder('a')
    sessions.keep_one_result('a', second, True)
    assert second.exists() and not first.exists()
    late = sessions.new_folder('a')
    sessions.end('a')
    sessions.keep_one_result('a', late, True)  # it came when its visitor had left
    assert not list(tmp_path.iterdir()) and not sessions._results


def test_uploads_that_nobody_has_are_removed(tmp_path, monkeypatch):
    sessions = Sessions(tmp_path)
    uploads = Uploads(sessions, 100)
    for name in ('mine', 'lost'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'a.png').write_bytes(b'x' * 40)
        assert uploads.begin('visitor', 40) is None
        uploads.end('visitor', 40, [tmp_path / name / 'a.png'])
    sessions.uploaded('session', tmp_path / 'mine/a.png')
    assert uploads.begin('visitor', 40).startswith('your photographs would be more')
    assert uploads.begin('other', 40) is None
    uploads.end('other', 40, [])
    uploads.sweep()
    assert (tmp_path / 'lost').exists()
    monkeypatch.setattr(sessions_module, 'CLAIMED', -1.0)
    uploads.sweep()
    assert not (tmp_path / 'lost').exists() and (tmp_path / 'mine/a.png').exists()
    assert uploads.begin('visitor', 40) is None
    uploads.end('visitor', 40, [])
    sessions.end('session')
    uploads.sweep()
    assert not uploads._visitors


def test_a_full_disk_takes_no_uploads(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(sessions_module, 'RESERVE', float(usage.total))
    assert Uploads(Sessions(tmp_path), 1e9).begin('visitor', 10).startswith('the disk of this computer is full')


@pytest.mark.parametrize('host, names, asked, expected', [
    ('0.0.0.0', [], '192.168.1.5:7860', True), ('0.0.0.0', [], 'evil.example.org:7860', False),
    ('0.0.0.0', [], f'{socket.gethostname()}:7860', True), ('0.0.0.0', [], 'localhost', True),
    ('0.0.0.0', ['photos.example.org'], 'Photos.example.org', True),
    ('::', [], '[fe80::1]:7860', True), ('127.0.0.1', [], '192.168.1.5:7860', False),
    ('127.0.0.1', ['photos.example.org'], 'photos.example.org', True), ('0.0.0.0', [], 'a:b:c', False)])
def test_names_under_which_a_page_may_be_asked(host, names, asked, expected):
    addresses = host not in ('127.0.0.1', )
    assert Door(None, known_names(host, names), addresses, None, None)._is_ours(asked) == expected


@pytest.mark.parametrize('arguments, message', [
    (('--max-file-size', 'inf'), '--max-file-size must be greater than 0, not inf'),
    (('--max-file-size', 'nan'), '--max-file-size must be greater than 0, not nan'),
    (('--max-megapixels', 'inf'), '--max-megapixels must be greater than 0, not inf'),
    (('--max-megapixels', '1e400'), '--max-megapixels must be greater than 0, not inf'),
    (('--max-uploads=-inf', ), '--max-uploads must be greater than 0, not -inf'),
    (('--max-uploads', '5'), '--max-uploads 5 must be at least --max-file-size 100'),
    (('--host', 'nowhere.invalid'), "--host 'nowhere.invalid' is no address or name of this computer"),
    (('--host', '999.1.1.1'), "--host '999.1.1.1' is no address"), (('--host', '..'), "--host '..' is no address"),
    (('--host', 'x' * 300), 'is no address or name'), (('--host', 'a\0b'), 'is no address or name'),
    (('--port', '0'), '--port must be from 1 to 65535'), (('--parallel', '-3'), '--parallel must be greater than 0'),
    (('--host', '192.0.2.1'), '--host 192.0.2.1 --port 7860: cannot listen there'),
])
def test_limits_and_addresses_are_checked_before_anything_is_loaded(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        _check(_parser().parse_args([*arguments]))


def test_a_port_that_is_taken_is_named():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f'--port {port}: cannot listen there: Address already in use'):
            _check(_parser().parse_args(['--port', str(port)]))


def test_notes_on_a_photograph_are_on_the_page(tmp_path):
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/a.jpg').write_bytes(photograph(0, 40) + b'video')
    *_, figures, target = web.restore(tmp_path / 'in/a.jpg', 'fast', 0, True, tmp_path, web.Limits(), 'cpu',
                                      lambda *_, **__: None)
    assert 'Note: 5 bytes behind the picture are left out' in figures and Path(target).exists()


def test_tiles_can_be_stopped_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr('maxl_sr.restorer.TILE', 64)
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 4:
            raise StoppedError

    (tmp_path / 'a.jpg').write_bytes(photograph(0, 300))
    with pytest.raises(StoppedError):
        web.restore(tmp_path / 'a.jpg', 'fast', 0, True, tmp_path / 'none', web.Limits(), 'cpu', lambda *_: None, check)
    assert len(calls) == 4 and not (tmp_path / 'none').exists()
