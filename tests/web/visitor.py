"""Somebody with a browser."""

import pytest

from tests.helpers import CHROMIUM, python

browser_api = pytest.importorskip('playwright.sync_api', reason='Playwright is not installed')
PATIENCE = 60  # seconds


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


def by_command_line(path, folder, *arguments):
    done = python('-m', 'maxl_sr', 'denoise', path, '-o', folder / 'cli', '--device', 'cpu', *arguments)
    assert done.returncode == 0, done.stderr
    return folder / 'cli' / path.name
