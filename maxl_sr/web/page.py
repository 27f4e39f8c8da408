"""The page itself: what is on it, and what its buttons do."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pyvips

from maxl_sr.errors import UserError
from maxl_sr.folders import megapixels
from maxl_sr.formats.endings import suffixes
from maxl_sr.photo import Photo
from maxl_sr.presets import PRESETS
from maxl_sr.report import curve, outcome
from maxl_sr.restorer import Restorer
from maxl_sr.web.limits import Limits
from maxl_sr.web.runs import Runs, StoppedError
from maxl_sr.web.sessions import Sessions

STEPS = 50  # at most
SLIDER_QUALITY = 95  # of the pictures of the slider
SIDE = 8192  # of these pictures, at most
ENLARGED = 4  # times the limit of the megapixels may a result have
HELD = (600, 4 * 3600)  # seconds: every so often, what is older is removed even if its session goes on


@functools.lru_cache
def _restorer(preset: str, device: str, precision: str) -> Restorer:
    return Restorer.from_pretrained(preset, device, precision)


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


def restore(source: Path, preset: str, steps: int, guard: bool, folder: Path, limits: Limits, where: tuple[str, str],
            progress: Callable[..., Any], check: Callable[[], None] | None = None) -> tuple[Any, ...]:
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
    restorer = _restorer(preset, *where)
    if size * restorer.scale ** 2 > ENLARGED * limits.megapixels:
        raise UserError(f'{source.name} enlarged by {restorer.scale} would have {size * restorer.scale ** 2:.0f} '
                        f'megapixels, this page makes {ENLARGED * limits.megapixels:g}')
    photo = Photo.read(source)
    target = folder / source.name
    photo.check_target(target)
    done = restorer.run(photo.visible, steps=steps if restorer.adapts else None, guard=guard, check=check,
                        progress=lambda step, _: progress(step / steps, desc=f'step {step} of {steps} at most'))
    if check is not None:
        check()
    photo.write(done.image, target)
    pictures = {'before': photo.shown(photo.pixels).resize(restorer.scale), 'after': photo.shown(done.image)}
    mask = done.mask
    if mask is not None:
        pictures['mask'] = photo.shown_values(mask)
    shown = folder / 'shown'  # apart from the file, whose name is the visitor's
    shown.mkdir()
    for name, picture in pictures.items():
        shrunk = picture.thumbnail_image(SIDE, height=SIDE, size='down')
        shrunk.jpegsave(str(shown / f'{name}.jpg'), Q=SLIDER_QUALITY, subsample_mode='off', keep='none')
    before, after, shown_mask = (str(shown / f'{name}.jpg') for name in ('before', 'after', 'mask'))
    height, width = photo.pixels.shape[:2]
    figures = f'{width} × {height} pixels · {outcome(done.steps, len(done.losses))} · {done.seconds:.1f} s'
    figures += ''.join(f'\n\nNote: {note}.' for note in (*photo.notes, *photo.losses(target)))
    return (before, after), None if mask is None else shown_mask, curve(done.losses), figures, str(target)


def build(sessions: Sessions, runs: Runs, limits: Limits,
          where: tuple[str, str] = ('auto', 'auto')) -> gr.Blocks:
    """Return the page.

    Args:
        sessions: Files while sessions last; their folder is that which the variable ``GRADIO_TEMP_DIR`` names.
        runs: What computes.
        limits: What it takes.
        where: Device and precision, as for :class:`~maxl_sr.restorer.Restorer`.
    """
    folder = sessions.folder

    def choose_photo(file: str | None, request: gr.Request) -> tuple[Any, ...]:
        if file is not None:
            sessions.uploaded(str(request.session_hash), Path(file))
        return None, gr.Image(None, visible=False), '', '', gr.DownloadButton(value=None, interactive=False)

    def choose_preset(preset: str) -> gr.Slider:
        restorer = _restorer(preset, *where)
        return gr.Slider(value=restorer.steps, interactive=restorer.adapts)

    async def run(file: str | None, preset: str, steps: int, guard: bool, request: gr.Request,
                  progress: gr.Progress = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008  (how Gradio hands one over)
        if file is None:
            raise gr.Error('choose a photograph first', print_exception=False)
        session = str(request.session_hash)
        sessions.uploaded(session, Path(file))
        target = sessions.new_folder(session)
        whole = False
        try:
            pictures, mask, losses, figures, restored = await runs.run(session, lambda check: restore(
                Path(file), preset, int(steps), guard, target, limits, where, progress, check))
            whole = True
        except StoppedError as error:
            raise gr.Error('stopped', print_exception=False) from error
        except Exception as error:  # whatever it is, the page tells it and goes on
            # Without the folders, which are the server's own affair
            told = re.sub(rf'{re.escape(str(folder))}/\w[\w-]*/', '', str(error)) or type(error).__name__
            raise gr.Error(told, print_exception=False) from error
        finally:
            sessions.keep_one_result(session, target, whole)
        return (pictures, gr.Image(mask, visible=mask is not None), losses, figures,
                gr.DownloadButton(value=restored, interactive=True))

    def stop(request: gr.Request) -> None:
        runs.stop(str(request.session_hash))

    def end(request: gr.Request) -> None:
        runs.stop(str(request.session_hash))
        sessions.end(str(request.session_hash))

    with gr.Blocks(title='maxl-sr', analytics_enabled=False, delete_cache=HELD) as page:
        gr.Markdown('# maxl-sr\nA network restores your photograph and adapts itself to it. The file stays on the '
                    'computer that runs this page, and is removed when you close the page.')
        with gr.Row():
            with gr.Column(scale=1):
                file = gr.File(label=f'Photograph, at most {limits.megapixels:g} MP', file_types=list(suffixes()),
                               elem_id='photo')
                for text, path in write_examples(folder.parent / 'examples').items():
                    gr.Button(f'Example: {text}', size='sm').click(
                        functools.partial(str, path), None, file, api_visibility='private', show_progress='hidden')
                preset = gr.Dropdown(list(PRESETS), value='fast', label='Preset', elem_id='preset')
                steps = gr.Slider(0, STEPS, value=_restorer('fast', *where).steps, step=1, label='Steps at most',
                                  elem_id='steps')
                guard = gr.Checkbox(True, label='Keep steps only where they pay (the guard)', elem_id='guard')
                button = gr.Button('Restore', variant='primary', elem_id='run')
                stop_button = gr.Button('Stop', size='sm', elem_id='stop')
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
        # Neither waits in the queue: a full one refuses, and the file would have no session
        file.change(choose_photo, file, results, api_visibility='private', show_progress='hidden', queue=False)
        stop_button.click(stop, None, None, api_visibility='private', show_progress='hidden', queue=False)
        preset.change(choose_preset, preset, steps, api_visibility='private', show_progress='hidden')
        button.click(run, [file, preset, steps, guard], results, api_visibility='private', show_progress_on=slider,
                     concurrency_limit=limits.parallel)
        page.unload(end)
    page.queue(max_size=limits.queue, api_open=False)
    return page
