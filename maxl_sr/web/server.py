"""The server of the page: from its start to Ctrl-C."""

import argparse
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import gradio as gr
import pyvips
from starlette.middleware import Middleware

from maxl_sr.errors import UserError
from maxl_sr.web.folder import page_folder
from maxl_sr.web.limits import Limits
from maxl_sr.web.middleware import Door, Policy, is_loopback, known_names
from maxl_sr.web.page import build
from maxl_sr.web.runs import Runs
from maxl_sr.web.sessions import Sessions, Uploads

PATIENCE = 30.0  # seconds that computations have to come to their next step or tile when the page ends
SWEEP = 30.0  # seconds between two looks for uploads that nobody has


def _serve(args: argparse.Namespace, limits: Limits, root: Path, stopped: threading.Event) -> bool:
    """Serve the page until `stopped`; return whether no computation is left."""
    folder = root / 'files'
    folder.mkdir()
    os.environ['GRADIO_TEMP_DIR'] = str(folder)
    sessions, runs = Sessions(folder), Runs(limits.parallel)
    uploads = Uploads(sessions, limits.uploads * 1e6)
    page = build(sessions, runs, limits, (args.device, args.precision))
    door = Middleware(Door, names=known_names(args.host, args.allowed_host), addresses=not is_loopback(args.host),
                      uploads=uploads, runs=runs)
    name = f'[{args.host}]' if ':' in args.host else args.host  # as in an address
    try:
        _, address, _ = page.launch(
            server_name=name, server_port=args.port, share=False, inbrowser=args.open, quiet=True,
            prevent_thread_lock=True, max_file_size=int(limits.file_size * 1e6), footer_links=[], ssr_mode=False,
            enable_monitoring=False, run_history=False, pwa=False, mcp_server=False,
            theme=gr.themes.Soft(font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace']),
            app_kwargs={'middleware': [Middleware(Policy), door]})
    except OSError as error:  # somebody else was faster, say; Gradio's own words are about its environment variables
        raise UserError(f'--host {args.host} --port {args.port}: cannot listen there') from error
    print(f'The page is at {address} (Ctrl-C ends it)', flush=True)
    while not stopped.wait(SWEEP):
        uploads.sweep()
    over = runs.end(PATIENCE)
    page.close(verbose=False)
    return over


def serve(args: argparse.Namespace, limits: Limits) -> int:
    """Serve the page until Ctrl-C and return the exit code.

    Args:
        args: ``host``, ``port``, ``allowed_host``, ``open``, ``device`` and ``precision`` of the command.
        limits: What it takes.
    """
    stopped = threading.Event()
    pyvips.block_untrusted_set(True)  # of libvips' loaders: what strangers send is for the well-tried ones
    with page_folder() as root:
        def stop(*_: Any) -> None:
            if stopped.is_set():  # once more: at once
                shutil.rmtree(root, ignore_errors=True)
                os._exit(130)
            stopped.set()

        for name in ('SIGINT', 'SIGTERM', 'SIGHUP'):  # the last one is not everywhere
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), stop)
        over = _serve(args, limits, root, stopped)
    if not over:  # a thread within torch at the end of Python would abort the process
        sys.stdout.flush()
        os._exit(0)
    return 0
