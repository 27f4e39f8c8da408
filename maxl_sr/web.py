"""A page in the browser: restore a photograph, look at it before and after, and take it home in its own format."""

import argparse
import functools
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pyvips
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maxl_sr.errors import UserError
from maxl_sr.photo import SUFFIXES, Photo, megapixels
from maxl_sr.report import curve, outcome
from maxl_sr.restorer import PRESETS, Restorer

STEPS = 50  # at most
LOOPBACK = ('127.0.0.1', 'localhost')
QUALITY = 95  # of the pictures of the slider
SIDE = 8192  # of these pictures, at most
ENLARGED = 4  # times the limit of the megapixels may a result have
HELD = (600, 4 * 3600)  # seconds: every so often, what is older is removed even if its session goes on
# The browser asks this host alone, whatever a library that is a part of the page would have it do
POLICY = ("default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; frame-ancestors 'self'; "
          "base-uri 'self'")


@dataclass(frozen=True)
class Limits:
    """What the page takes.

    Attributes:
        megapixels: Largest image.
        file_size: Largest file in megabytes.
        queue: How many images may wait; more are refused.
        parallel: How many images are computed at a time.
    """

    megapixels: float = 24
    file_size: float = 100
    queue: int = 16
    parallel: int = 1


class Policy:
    """ASGI middleware: every answer comes with :data:`POLICY`, and the page's address is told to nobody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        async def send_with_policy(message: Message) -> None:
            if message['type'] == 'http.response.start':
                message = {**message, 'headers': [*message['headers'], (b'content-security-policy', POLICY.encode()),
                                                  (b'referrer-policy', b'no-referrer')]}
            await send(message)

        await self._app(scope, receive, send_with_policy)


class Sessions:
    """The folders of everyone who has the page open; they go with the session.

    A session is named by the browser, so its name is never a part of a path.

    Args:
        folder: Where Gradio keeps uploaded files, and where results go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._folders: dict[str, set[Path]] = {}
        self._lock = threading.Lock()

    def _note(self, session: str, path: Path) -> None:
        with self._lock:
            self._folders.setdefault(session, set()).add(path)

    def new_folder(self, session: str) -> Path:
        """Make a folder for a result of a session."""
        path = self._folder / f'result-{secrets.token_hex(16)}'
        path.mkdir(parents=True)
        self._note(session, path)
        return path

    def uploaded(self, session: str, path: Path) -> None:
        """Note that a session has a file; Gradio keeps equal files of several sessions as one."""
        if path.resolve().parents[1] == self._folder:
            self._note(session, path.resolve().parent)

    def end(self, session: str) -> None:
        """Remove the folders of a session, but for those that another one has, too."""
        with self._lock:
            for path in self._folders.pop(session, set()):
                if not any(path in others for others in self._folders.values()):
                    shutil.rmtree(path, ignore_errors=True)


@functools.lru_cache
def _restorer(preset: str, device: str) -> Restorer:
    return Restorer.from_pretrained(preset, device)


def write_examples(folder: Path) -> dict[str, str]:
    """Write photographs that scikit-image brings, noise added; return their paths by what they are, none without it."""
    try:
        from skimage import data
    except ImportError:
        return {}
    rng = np.random.default_rng(0)
    folder.mkdir()
    paths = {}
    kinds: tuple[tuple[str, str, str, int, dict[str, int]], ...] = (
        ('chelsea', '.png', 'cat, Gaussian noise (PNG)', 25, {}),
        ('coffee', '.jpg', 'coffee, noise and JPEG of quality 50', 25, {'Q': 50}),
        ('astronaut', '.webp', 'astronaut, little noise (WebP)', 8, {'Q': 95}))
    for name, suffix, text, strength, options in kinds:
        clean = getattr(data, name)()
        noisy = (clean + rng.normal(0, strength, clean.shape)).round().clip(0, 255).astype(np.uint8)
        path = folder / f'{name}{suffix}'
        pyvips.Image.new_from_array(noisy).write_to_file(str(path), **options)
        paths[text] = str(path)
    return paths


def restore(source: Path, preset: str, steps: int, guard: bool, folder: Path, limits: Limits, device: str,
            progress: Callable[..., Any]) -> tuple[Any, ...]:
    """Restore a file into a new file and pictures in `folder`; return what the page shows.

    Returns:
        Pictures before and after, picture of the mask or None, the curve as HTML, the figures, the restored file.

    Raises:
        ValueError: The file cannot be restored, or is larger than `limits`.
        MemoryError: The memory does not suffice.
    """
    size = megapixels(source)
    if size > limits.megapixels:
        raise UserError(f'{source.name} has {size:.1f} megapixels, this page takes {limits.megapixels:g}')
    if preset not in PRESETS or not 0 <= steps <= STEPS:
        raise UserError(f'preset {preset!r} or number of steps {steps!r} is none of the page')
    restorer = _restorer(preset, device)
    if size * restorer.scale ** 2 > ENLARGED * limits.megapixels:
        raise UserError(f'{source.name} enlarged by {restorer.scale} would have {size * restorer.scale ** 2:.0f} '
                        f'megapixels, this page makes {ENLARGED * limits.megapixels:g}')
    photo = Photo.read(source)
    target = folder / source.name
    photo.check_target(target)
    done = restorer.run(photo.pixels, steps=steps if restorer.adapts else None, guard=guard,
                        progress=lambda step, _: progress(step / steps, desc=f'step {step} of {steps} at most'))
    photo.write(done.image, target)
    pictures = {'before': photo.shown(photo.pixels).resize(restorer.scale), 'after': photo.shown(done.image)}
    mask = restorer.mask(photo.pixels)
    if mask is not None:
        pictures['mask'] = photo.shown_values(mask)
    shown = folder / 'shown'  # apart from the file, whose name is the visitor's
    shown.mkdir()
    for name, picture in pictures.items():
        shrunk = picture.thumbnail_image(SIDE, height=SIDE, size='down')
        shrunk.jpegsave(str(shown / f'{name}.jpg'), Q=QUALITY, subsample_mode='off', keep='none')
    before, after, shown_mask = (str(shown / f'{name}.jpg') for name in ('before', 'after', 'mask'))
    height, width = photo.pixels.shape[:2]
    figures = f'{width} × {height} pixels · {outcome(done.steps, len(done.losses))} · {done.seconds:.1f} s'
    return (before, after), None if mask is None else shown_mask, curve(done.losses), figures, str(target)


def build(folder: Path, limits: Limits, device: str = 'auto') -> gr.Blocks:
    """Return the page.

    Args:
        folder: Where files lie while sessions last; one that the variable ``GRADIO_TEMP_DIR`` names or that is in it.
        limits: What it takes.
        device: As for :class:`~maxl_sr.restorer.Restorer`.
    """
    sessions = Sessions(folder)

    def choose_photo(file: str | None, request: gr.Request) -> tuple[Any, ...]:
        if file is not None:
            sessions.uploaded(str(request.session_hash), Path(file))
        return None, gr.Image(None, visible=False), '', '', gr.DownloadButton(value=None, interactive=False)

    def choose_preset(preset: str) -> gr.Slider:
        restorer = _restorer(preset, device)
        return gr.Slider(value=restorer.steps, interactive=restorer.adapts)

    def run(file: str | None, preset: str, steps: int, guard: bool, request: gr.Request,
            progress: gr.Progress = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008  (how Gradio hands one over)
        if file is None:
            raise gr.Error('choose a photograph first', print_exception=False)
        try:
            pictures, mask, losses, figures, target = restore(
                Path(file), preset, int(steps), guard, sessions.new_folder(str(request.session_hash)), limits, device,
                progress)
        except (ValueError, MemoryError, OSError, pyvips.Error) as error:
            # Without the folders, which are the server's own affair
            told = re.sub(rf'{re.escape(str(folder))}/\w[\w-]*/', '', str(error))
            raise gr.Error(told, print_exception=False) from error
        return (pictures, gr.Image(mask, visible=mask is not None), losses, figures,
                gr.DownloadButton(value=target, interactive=True))

    def end(request: gr.Request) -> None:
        sessions.end(str(request.session_hash))

    with gr.Blocks(title='maxl-sr', analytics_enabled=False, delete_cache=HELD) as page:
        gr.Markdown('# maxl-sr\nA network restores your photograph and adapts itself to it. The file stays on the '
                    'computer that runs this page, and is removed when you close the page.')
        with gr.Row():
            with gr.Column(scale=1):
                file = gr.File(label=f'Photograph, at most {limits.megapixels:g} MP', file_types=list(SUFFIXES),
                               elem_id='photo')
                for text, path in write_examples(folder.parent / 'examples').items():
                    gr.Button(f'Example: {text}', size='sm').click(
                        functools.partial(str, path), None, file, api_visibility='private', show_progress='hidden')
                preset = gr.Dropdown(list(PRESETS), value='fast', label='Preset', elem_id='preset')
                steps = gr.Slider(0, STEPS, value=_restorer('fast', device).steps, step=1, label='Steps at most',
                                  elem_id='steps')
                guard = gr.Checkbox(True, label='Keep steps only where they pay (the guard)', elem_id='guard')
                button = gr.Button('Restore', variant='primary', elem_id='run')
            with gr.Column(scale=2):
                slider = gr.ImageSlider(label='Before and after', type='filepath', interactive=False, max_height=640,
                                        buttons=['fullscreen'], elem_id='slider')
                figures = gr.Markdown(elem_id='figures')
                download = gr.DownloadButton('Download', interactive=False, elem_id='download')
                with gr.Row():
                    mask = gr.Image(label='Mask (white: trusted)', type='filepath', visible=False, interactive=False,
                                    buttons=[], elem_id='mask')
                    losses = gr.HTML(elem_id='losses')
        results = [slider, mask, losses, figures, download]
        file.change(choose_photo, file, results, api_visibility='private', show_progress='hidden')
        preset.change(choose_preset, preset, steps, api_visibility='private', show_progress='hidden')
        button.click(run, [file, preset, steps, guard], results, api_visibility='private', show_progress_on=slider,
                     concurrency_limit=limits.parallel)
        page.unload(end)
    page.queue(max_size=limits.queue, api_open=False)
    return page


def _parser() -> argparse.ArgumentParser:
    usual = Limits()
    parser = argparse.ArgumentParser(prog='maxl-sr web', description=__doc__)
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
    return parser


def _check(args: argparse.Namespace) -> Limits:
    for name in ('max_megapixels', 'max_file_size', 'queue', 'parallel'):
        if not getattr(args, name) > 0:
            raise UserError(f"--{name.replace('_', '-')} must be greater than 0, not {getattr(args, name)}")
    if not 0 < args.port < 65536:
        raise UserError(f'--port must be from 1 to 65535, not {args.port}')
    return Limits(args.max_megapixels, args.max_file_size, args.queue, args.parallel)


def _stop(*_: Any) -> None:
    sys.exit(0)


def main() -> int:
    """Serve the page until Ctrl-C; return the exit code: 2 for a mistake."""
    args = _parser().parse_args()
    for name in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: the files go
        signal.signal(name, _stop)
    pyvips.block_untrusted_set(True)  # of libvips' loaders: what strangers send is for the well-tried ones
    with tempfile.TemporaryDirectory(prefix='maxl-sr-') as root:
        folder = Path(root).resolve() / 'files'
        os.environ['GRADIO_TEMP_DIR'] = str(folder)
        try:
            limits = _check(args)
            # On the loopback address a page of another name is none of ours, wherever that name leads
            hosts = [*LOOPBACK] if args.host in LOOPBACK else ['*']
            page = build(folder, limits, args.device)
            _, address, _ = page.launch(
                server_name=args.host, server_port=args.port, share=False, inbrowser=args.open, quiet=True,
                prevent_thread_lock=True, max_file_size=int(limits.file_size * 1e6), footer_links=[], ssr_mode=False,
                enable_monitoring=False, run_history=False, pwa=False, mcp_server=False,
                theme=gr.themes.Soft(font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace']),
                app_kwargs={'middleware': [Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(Policy)]})
        except (ValueError, OSError) as error:
            print(f'error: {error}', file=sys.stderr)
            return 2
        print(f'The page is at {address} (Ctrl-C ends it)', flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            page.close(verbose=False)
    return 0


if __name__ == '__main__':
    sys.exit(main())
