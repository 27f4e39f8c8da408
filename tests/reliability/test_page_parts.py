"""The parts of the page that keep its promises, one by one."""

import argparse
import asyncio
import re
import shutil
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip('gradio', reason="the extra 'web' is not installed")
web = pytest.importorskip('maxl_sr.web')
from maxl_sr.commands.web import add_arguments  # noqa: E402
from maxl_sr.web import runs as runs_module  # noqa: E402
from maxl_sr.web import sessions as sessions_module  # noqa: E402
from maxl_sr.web.folder import LOCK, page_folder, remove_stale_folders  # noqa: E402
from maxl_sr.web.limits import limits_of  # noqa: E402
from maxl_sr.web.middleware import Door, is_loopback, known_names  # noqa: E402
from maxl_sr.web.runs import Runs, StoppedError  # noqa: E402
from maxl_sr.web.sessions import Sessions, Uploads  # noqa: E402
from tests.helpers import free_port  # noqa: E402
from tests.processes import kill  # noqa: E402
from tests.reliability.page_visitors import in_a_page_folder, photograph  # noqa: E402


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
    monkeypatch.setattr(runs_module, 'GRACE', 600.0)
    runs, lock, release = Runs(2), threading.Lock(), threading.Event()
    most, computing, finished = 0, set(), set()

    def work(number, check):
        nonlocal most
        with lock:
            computing.add(number)
            most = max(most, len(computing))
        try:
            while not release.wait(0.001):
                check()
            finished.add(number)
        finally:
            with lock:
                computing.discard(number)
        return 'done'

    async def two_of(numbers):
        while not (len(computing) == 2 and computing <= set(numbers)):
            await asyncio.sleep(0.001)

    async def visit():
        tasks = [asyncio.create_task(runs.run(f'{number}', partial(work, number))) for number in range(20)]
        await asyncio.wait_for(two_of(range(20)), 60)
        for task in tasks[:15]:
            task.cancel()
        await asyncio.wait_for(two_of(range(15, 20)), 60)
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(visit())
    assert results[15:] == ['done'] * 5 and most == 2 and finished == set(range(15, 20))
    assert all(isinstance(result, asyncio.CancelledError) for result in results[:15])
    assert runs.end(60) and not computing
    with pytest.raises(StoppedError):
        asyncio.run(runs.run('late', partial(work, 20)))


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
    ('127.0.0.1', ['Photos.example.org'], 'photos.example.org', True), ('0.0.0.0', [], 'a:b:c', False),
    ('127.0.0.2', [], '127.0.0.2:7860', True), ('127.0.0.2', [], '192.168.1.5:7860', False)])
def test_names_under_which_a_page_may_be_asked(host, names, asked, expected):
    assert Door(None, known_names(host, names), not is_loopback(host), None, None)._is_ours(asked) == expected


def limits(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return limits_of(parser.parse_args(arguments))


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
    (('--host', ''), "--host '' is no address"), (('--host', '[::1'), "--host '[::1' is no address"),
    (('--host', 'http://127.0.0.1'), "--host 'http://127.0.0.1' is no address"),
    (('--host', '127.0.0.1:80'), "--host '127.0.0.1:80' is no address"),
    (('--host', 'fe80::1%lo'), "--host 'fe80::1%lo' is no address"),
    (('--allowed-host', 'https://photos.example.org'), "--allowed-host 'https://photos.example.org' must be a name"),
    (('--allowed-host', 'photos.example.org:443'), "--allowed-host 'photos.example.org:443' must be a name alone"),
    (('--allowed-host', ''), "--allowed-host '' must be a name alone"),
])
def test_limits_and_addresses_are_checked_before_anything_is_loaded(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        limits(*arguments)


@pytest.mark.parametrize('given, host', [
    ('127.1', '127.0.0.1'), ('2130706433', '127.0.0.1'), ('0x7f.0.0.1', '127.0.0.1'), ('0177.0.0.1', '127.0.0.1'),
    ('::ffff:127.0.0.1', '127.0.0.1'), ('LOCALHOST', 'localhost'), ('0', '0.0.0.0'), ('127.0.0.2', '127.0.0.2')])
def test_addresses_in_any_spelling_are_those_of_the_browser(given, host):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(['--host', given, '--port', str(free_port())])
    limits_of(args)
    assert args.host == host and is_loopback(host) == (host != '0.0.0.0')


def test_a_port_that_is_taken_is_named():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f'--port {port}: cannot listen there: Address already in use'):
            limits('--port', str(port))


def test_notes_on_a_photograph_are_on_the_page(tmp_path):
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/a.jpg').write_bytes(photograph(0, 40) + b'video')
    *_, figures, target = web.restore(tmp_path / 'in/a.jpg', 'fast', 0, True, tmp_path, web.Limits(), ('cpu', 'auto'),
                                      lambda *_, **__: None)
    assert 'Note: 5 bytes behind the picture are left out' in figures and Path(target).exists()


def test_tiles_can_be_stopped_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr('maxl_sr.restore.memory.TILE', 64)
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 4:
            raise StoppedError

    (tmp_path / 'a.jpg').write_bytes(photograph(0, 300))
    with pytest.raises(StoppedError):
        web.restore(tmp_path / 'a.jpg', 'fast', 0, True, tmp_path / 'none', web.Limits(), ('cpu', 'auto'),
                    lambda *_: None, check)
    assert len(calls) == 4 and not (tmp_path / 'none').exists()
