"""A running page, photographs, and somebody with a browser."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import pyvips
from PIL import Image

from tests.helpers import free_port
from tests.web.visitor import PATIENCE, Visitor, browser_api


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """The address of a running page, and the folder in which it may make temporary ones."""
    folder = tmp_path_factory.mktemp('server')
    command = [sys.executable, '-m', 'maxl_sr', 'web', '--port', str(free_port()), '--device', 'cpu', '--parallel', '2',
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
