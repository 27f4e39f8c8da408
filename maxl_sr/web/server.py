"""``maxl-sr web``: serve the page until Ctrl-C."""

import argparse
import math
import os
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import gradio as gr
import pyvips
from starlette.middleware import Middleware

from maxl_sr.errors import UserError
from maxl_sr.web.folder import page_folder
from maxl_sr.web.middleware import LOOPBACK, Door, Policy, known_names
from maxl_sr.web.page import Limits, build
from maxl_sr.web.runs import Runs
from maxl_sr.web.sessions import Sessions, Uploads

PATIENCE = 30.0  # seconds that computations have to come to their next step or tile when the page ends
SWEEP = 30.0  # seconds between two looks for uploads that nobody has


def _parser() -> argparse.ArgumentParser:
    usual = Limits()
    parser = argparse.ArgumentParser(prog='maxl-sr web', description='Restore photographs on a page in the browser.')
    parser.add_argument('--host', default='127.0.0.1',
                        help='address to listen on; 0.0.0.0: all, so that others can use it (default: %(default)s)')
    parser.add_argument('--port', type=int, default=7860, help='(default: %(default)s)')
    parser.add_argument('--open', action='store_true', help='open the page in the browser')
    parser.add_argument('--device', default='auto', help='cpu, cuda, … (default: a GPU where there is one)')
    parser.add_argument('--max-megapixels', type=float, default=usual.megapixels, metavar='MP',
                        help='largest image (default: %(default)s)')
    parser.add_argument('--max-file-size', type=float, default=usual.file_size, metavar='MB',
                        help='largest file (default: %(default)s)')
    parser.add_argument('--queue', type=int, default=usual.queue, help='images that may wait (default: %(default)s)')
    parser.add_argument('--parallel', type=int, default=usual.parallel,
                        help='images that are computed at a time (default: %(default)s)')
    parser.add_argument('--max-uploads', type=float, default=usual.uploads, metavar='MB',
                        help='of one visitor on the disk at a time (default: %(default)s)')
    parser.add_argument('--allowed-host', action='append', default=[], metavar='NAME',
                        help='another name under which browsers may ask for the page, that of a proxy for one')
    return parser


def _check(args: argparse.Namespace) -> Limits:
    for name in ('max_megapixels', 'max_file_size', 'max_uploads', 'queue', 'parallel'):
        value = getattr(args, name)
        if not 0 < value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} must be greater than 0, not {value}")
    if not 0 < args.port < 65536:
        raise UserError(f'--port must be from 1 to 65535, not {args.port}')
    if args.max_uploads < args.max_file_size:
        raise UserError(f'--max-uploads {args.max_uploads:g} must be at least --max-file-size {args.max_file_size:g}')
    try:
        if '%' in args.host:  # the zone of an IPv6 address: no browser takes it
            raise OSError
        found = socket.getaddrinfo(args.host, args.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UserError(f'--host {args.host!r} is no address or name of this computer') from error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            raise UserError(f'--host {args.host} --port {args.port}: cannot listen there: {error.strerror}') from error
    return Limits(args.max_megapixels, args.max_file_size, args.queue, args.parallel, args.max_uploads)


def _serve(args: argparse.Namespace, limits: Limits, root: Path, stopped: threading.Event) -> bool:
    """Serve the page until `stopped`; return whether no computation is left."""
    folder = root / 'files'
    folder.mkdir()
    os.environ['GRADIO_TEMP_DIR'] = str(folder)
    sessions, runs = Sessions(folder), Runs(limits.parallel)
    uploads = Uploads(sessions, limits.uploads * 1e6)
    page = build(sessions, runs, limits, args.device)
    door = Middleware(Door, names=known_names(args.host, args.allowed_host), addresses=args.host not in LOOPBACK,
                      uploads=uploads, runs=runs)
    name = f'[{args.host}]' if ':' in args.host else args.host  # as in an address
    _, address, _ = page.launch(
        server_name=name, server_port=args.port, share=False, inbrowser=args.open, quiet=True, prevent_thread_lock=True,
        max_file_size=int(limits.file_size * 1e6), footer_links=[], ssr_mode=False,
        enable_monitoring=False, run_history=False, pwa=False, mcp_server=False,
        theme=gr.themes.Soft(font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace']),
        app_kwargs={'middleware': [Middleware(Policy), door]})
    print(f'The page is at {address} (Ctrl-C ends it)', flush=True)
    while not stopped.wait(SWEEP):
        uploads.sweep()
    over = runs.end(PATIENCE)
    page.close(verbose=False)
    return over


def main() -> int:
    """Serve the page until Ctrl-C; return the exit code: 2 for a mistake."""
    args = _parser().parse_args()
    stopped, root = threading.Event(), Path()

    def stop(*_: Any) -> None:
        if stopped.is_set():  # once more: at once
            shutil.rmtree(root, ignore_errors=True)
            os._exit(130)
        stopped.set()

    pyvips.block_untrusted_set(True)  # of libvips' loaders: what strangers send is for the well-tried ones
    try:
        limits = _check(args)
        with page_folder() as root:
            for name in ('SIGINT', 'SIGTERM', 'SIGHUP'):  # the last one is not everywhere
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), stop)
            over = _serve(args, limits, root, stopped)
    except (ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if not over:  # a thread within torch at the end of Python would abort the process
        sys.stdout.flush()
        os._exit(0)
    return 0
