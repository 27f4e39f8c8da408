"""Restore files, one after the other: what is done already is left, what cannot be restored is named."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maxl_sr.errors import UserError
from maxl_sr.folders import find, is_image, megapixels
from maxl_sr.formats.endings import check_suffix, suffixes
from maxl_sr.photo import Photo
from maxl_sr.progress import Progress, tell
from maxl_sr.report import Report
from maxl_sr.restorer import Restorer
from maxl_sr.utils.files import check_file, check_folder, real, remove_partial_files, shown


@dataclass(frozen=True)
class Job:
    """A file and where its restored image goes.

    Attributes:
        name: Of the file below the folder that was given.
    """

    source: Path
    target: Path
    name: Path


def _of_input(path: Path, output: Path, own: list[Path]) -> list[Job]:
    if not os.path.exists(path):
        raise UserError(f'there is no file or folder {shown(path)}')
    if not os.path.isdir(path):
        check_file(path)
        check_suffix(path)
    found = find(path)
    files, skipped = found.files, found.told()
    for folder in own:
        if real(path) in folder.parents:
            files = [file for file in files if folder not in real(file).parents]
    if not files:
        raise UserError(f"{shown(path)} holds no image ({', '.join(suffixes())})" + (f'; {skipped}' if skipped else ''))
    if skipped:
        tell(f'{shown(path)}: {skipped}')
    root = path if path.is_dir() else path.parent
    return [Job(file, output / file.relative_to(root), file.relative_to(root)) for file in files]


def jobs(inputs: list[Path], output: Path, report: Path | None = None) -> list[Job]:
    """Return what is to be done: every image of the `inputs`, files or folders, under its name below `output`.

    `output` is a file if it ends as one; then there must be one image. What is in the folders `output` and `report` is
    no input where these are below one. What else is skipped in a folder is told.

    Raises:
        UserError: An input is not there or of another format, a folder holds no image, two images would be written to
            one file, or one over an input, or the output cannot be written.
    """
    own = [real(output), *([] if report is None else [real(report)])]
    found = [job for path in inputs for job in _of_input(path, output, own)]
    if output.suffix.lower() in suffixes() and not output.is_dir():
        if len(found) > 1:
            raise UserError(f'-o {shown(output)} is one file, but there are {len(found)} images; name a folder')
        found = [Job(found[0].source, output, found[0].name)]
        if output.exists():
            check_file(output)
    elif is_image(output) and not output.is_dir():
        check_suffix(output, '-o ')
    else:
        check_folder(output, '-o ')
    taken: dict[Path, Path] = {}
    sources = {real(job.source): job.source for job in found}
    for job in found:
        target = real(job.target)
        if target in sources:
            raise UserError(f'{shown(sources[target])} would be written over; name another folder with -o')
        if target in taken:
            raise UserError(f'{shown(taken[target])} and {shown(job.source)} would both be written to '
                            f'{shown(job.target)}')
        taken[target] = job.source
    return found


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
