"""Restore files, one after the other: what is done already is left, what cannot be restored is named."""

import mimetypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from maxl_sr.errors import UserError
from maxl_sr.photo import SUFFIXES, Photo, megapixels, photos
from maxl_sr.report import Report
from maxl_sr.restorer import Restorer

BAR = '{desc} |{bar}| {n:.1f} of {total:.1f} MP, {rate_noinv_fmt}, {remaining} left{postfix}'


@dataclass(frozen=True)
class Job:
    """A file and where its restored image goes."""

    source: Path
    target: Path


def _is_image(path: Path) -> bool:
    kind = mimetypes.guess_type(path.name)[0]
    return kind is not None and kind.startswith('image/') and not path.is_dir()


def jobs(inputs: list[Path], output: Path, report: Path | None = None) -> list[Job]:
    """Return what is to be done: every image of the `inputs`, files or folders, under its name below `output`.

    `output` is a file if it ends as one; then there must be one image. What is in the folders `output` and `report` is
    no input where these are below one.

    Raises:
        UserError: An input is not there or of another format, a folder holds no image, two images would be written to
            one file, or one over an input.
    """
    found: list[Job] = []
    for path in inputs:
        if not path.exists():
            raise UserError(f'there is no file or folder {path}')
        if path.is_file() and path.suffix.lower() not in SUFFIXES:
            raise UserError(f"{path}: the ending must be one of {', '.join(SUFFIXES)}")
        files = photos(path)
        for own in (output.resolve(), *([] if report is None else [report.resolve()])):
            if path.resolve() in own.parents:
                files = [file for file in files if own not in file.resolve().parents]
        if not files:
            raise UserError(f"{path} holds no image ({', '.join(SUFFIXES)})")
        root = path if path.is_dir() else path.parent
        found += [Job(file, output / file.relative_to(root)) for file in files]
    if output.suffix.lower() in SUFFIXES and not output.is_dir():
        if len(found) > 1:
            raise UserError(f'-o {output} is one file, but there are {len(found)} images; name a folder')
        found = [Job(found[0].source, output)]
    elif _is_image(output):
        raise UserError(f"-o {output}: the ending must be one of {', '.join(SUFFIXES)}, or none, of a folder")
    taken: dict[Path, Path] = {}
    sources = {job.source.resolve(): job.source for job in found}
    for job in found:
        target = job.target.resolve()
        if target in sources:
            raise UserError(f'{sources[target]} would be written over; name another folder with -o')
        if target in taken:
            raise UserError(f'{taken[target]} and {job.source} would both be written to {job.target}')
        taken[target] = job.source
    return found


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
    todo = [job for job in work if overwrite or not job.target.exists()]
    if len(todo) < len(work):
        print(f'{len(work) - len(todo)} of {len(work)} images are done already', file=sys.stderr)
    sizes = [megapixels(job.source) for job in todo]
    failed = 0
    with tqdm(total=sum(sizes), unit='MP', bar_format=BAR, disable=not todo) as bar:
        def tell(step: int, _: float) -> None:
            bar.set_postfix_str(f'step {step}')

        try:
            for number, (job, size) in enumerate(zip(todo, sizes), start=1):
                bar.set_description_str(f'image {number} of {len(todo)}, {job.source.name}')
                try:
                    photo = Photo.read(job.source)
                    photo.check_target(job.target)
                    job.target.parent.mkdir(parents=True, exist_ok=True)
                    done = restorer.run(photo.pixels, **options, progress=tell)
                    if report is not None:  # first: an image that is done is not told of once more
                        report.add(photo, done, restorer, job.source, job.target)
                    photo.write(done.image, job.target)
                except (UserError, MemoryError, OSError) as error:
                    failed += 1
                    bar.write(f'error: {error}' if isinstance(error, UserError) else f'error: {job.source}: {error}',
                              file=sys.stderr)
                bar.set_postfix_str('', refresh=False)
                bar.update(size)
        except KeyboardInterrupt:
            bar.close()
            print('stopped' + ('' if overwrite else '; the same command goes on where it was'), file=sys.stderr)
            return 130
    if failed:
        print(f'{failed} of {len(todo)} images could not be restored', file=sys.stderr)
    return 1 if failed else 0
