"""What is to be done with files and folders: every photograph, and where it goes."""

import os
from dataclasses import dataclass
from pathlib import Path

from maxl_sr.errors import UserError
from maxl_sr.folders import find, is_image
from maxl_sr.formats.endings import check_suffix, suffixes
from maxl_sr.progress import tell
from maxl_sr.utils.files import check_file, check_folder, check_length, real, shown


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


def work_list(inputs: list[Path], output: Path, report: Path | None = None) -> list[Job]:
    """Return what is to be done: every image of the `inputs`, files or folders, under its name below `output`.

    `output` is a file if it ends as one; then there must be one image. What is in the folders `output` and `report` is
    no input where these are below one. What else is skipped in a folder is told.

    Raises:
        UserError: An input is not there or of another format, is the report or holds no image, two images would be
            written to one file, or one over an input, or the output cannot be written.
    """
    check_length(output, '-o ')
    if report is not None and real(report) in map(real, inputs):  # its pictures would be among the photographs
        raise UserError(f'--report {shown(report)} is a folder of photographs; name another')
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
        check_length(job.target, '-o ')
        target = real(job.target)
        if target in sources:
            raise UserError(f'{shown(sources[target])} would be written over; name another folder with -o')
        if target in taken:
            raise UserError(f'{shown(taken[target])} and {shown(job.source)} would both be written to '
                            f'{shown(job.target)}')
        taken[target] = job.source
    return found
