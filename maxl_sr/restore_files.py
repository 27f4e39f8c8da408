"""Restore files, one after the other: what is done already is left, what cannot be restored is named."""

import os
from pathlib import Path
from typing import Any

from maxl_sr.errors import UserError
from maxl_sr.folders import megapixels
from maxl_sr.photo import Photo
from maxl_sr.progress import Progress, tell
from maxl_sr.report import Report
from maxl_sr.restorer import Restorer
from maxl_sr.utils.files import check_folder, remove_partial_files, shown
from maxl_sr.work_list import Job


def _restore(restorer: Restorer, job: Job, options: dict[str, Any], progress: Progress, report: Report | None) -> None:
    photo = Photo.read(job.source)
    photo.check_target(job.target)
    check_folder(job.target.parent)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    for note in (*photo.notes, *photo.losses(job.target)):
        progress.write(f'note: {shown(job.source)}: {note}')
    done = restorer.run(photo.visible, **options, progress=progress.step)
    if report is not None:  # first: an image that is done is not told of once more
        report.add(photo, done, restorer, job.source, job.target)
    photo.write(done.image, job.target)


def reason(error: Exception, source: Path) -> str:
    """Return in one line why a file could not be restored, whatever the cause, with its name."""
    text = shown(' '.join(str(error).split())) or type(error).__name__
    if not isinstance(error, (UserError, MemoryError, OSError)):
        text = f'{type(error).__name__}: {text}' if text != type(error).__name__ else text
    if len(text) > 500:
        text = f'{text[:500]} …'
    name = shown(source)
    return text if name in text or ascii(str(source)) in text else f'{name}: {text}'


def restore_files(restorer: Restorer, work: list[Job], options: dict[str, Any], overwrite: bool = False,
                  report: Report | None = None) -> int:
    """Restore the files and return the exit code: 1 where one could not be, 130 where it was interrupted.

    Args:
        restorer: By what.
        work: What and whereto; folders are made.
        options: As for :meth:`~maxl_sr.restorer.Restorer.run`.
        overwrite: Whether files that are there already are restored once more.
        report: Where the images that are restored are told of.
    """
    todo = [job for job in work if overwrite or not os.path.exists(job.target)]
    if len(todo) < len(work):
        tell(f'{len(work) - len(todo)} of {len(work)} images are done already')
    remove_partial_files({job.target.parent for job in work})
    progress = Progress([megapixels(job.source) for job in todo], len(work) - len(todo))
    try:
        for job in todo:
            progress.begin(shown(job.source.name))
            try:
                _restore(restorer, job, options, progress, report)
            except Exception as error:  # a network of one's own may raise anything; the others are restored
                progress.write(f'error: {reason(error, job.source)}')
                progress.end(False)
            else:
                progress.end(True)
    except KeyboardInterrupt:
        progress.close('interrupted' if overwrite else 'interrupted; the same command goes on where it was')
        return 130
    progress.close()
    return 1 if progress.failed else 0
