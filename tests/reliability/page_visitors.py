"""A running page, and somebody who knows how it talks with its server."""

import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid

import numpy as np
import psutil
from PIL import Image

from maxl_sr.web.folder import page_folder
from tests.helpers import free_port

PATIENCE = 60  # seconds
PORT = free_port()


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

    def uploads(self):
        return {path for path in self.files() if 'result-' not in str(path)}

    def held(self):
        """Bytes of the uploads; some of them may go meanwhile."""
        total = 0
        for path in self.uploads():
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

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


def photograph(seed, side=400):
    rng, file = np.random.default_rng(seed), io.BytesIO()
    Image.fromarray(rng.integers(100, 140, (side, side, 3), np.uint8)).save(file, 'JPEG', quality=70)
    return file.getvalue()


def upload(visitor, seed, **options):
    status, text = visitor.upload(photograph(seed, **options), 'photo.jpg')
    assert status == 200, text
    return json.loads(text)[0]
