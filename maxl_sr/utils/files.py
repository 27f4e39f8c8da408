"""Files and folders that are there whole or not at all: the one place that makes temporary names and renames."""

import argparse
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maxl_sr.errors import UserError

try:
    import fcntl
except ImportError:  # of Unix alone; without it nothing that a killed run left is removed
    fcntl = None  # type: ignore[assignment]

_PARTIAL = re.compile(r'\.[0-9a-f]{32}\.partial(\..*)?')
_PARTIAL_FOLDER = '.partial-'  # begins the name
_KINDS = ((stat.S_ISFIFO, 'a named pipe'), (stat.S_ISSOCK, 'a socket'), (stat.S_ISCHR, 'a device'),
          (stat.S_ISBLK, 'a device'), (stat.S_ISDIR, 'a folder'))


def shown(path: str | Path) -> str:
    """Return a path as text that can be printed and written: bytes that are not UTF-8 as escapes."""
    return str(path).encode('utf-8', 'backslashreplace').decode()


def path_argument(text: str) -> Path:
    """Return an argument that is a path; an empty one, of a variable that is not set, is not the current folder."""
    if not text or '\0' in text:
        raise argparse.ArgumentTypeError('must not hold the character NUL' if text else 'must not be empty')
    return Path(text)


def real(path: Path) -> Path:
    """Return a path without links; one that is a circle of them as it is, where ``Path.resolve`` may raise."""
    return Path(os.path.realpath(path))


def failure(error: OSError) -> str:
    """Return what the system says of a file, with its name, in words."""
    if error.strerror is None:
        return shown(str(error))
    return error.strerror if error.filename is None else f'{shown(os.fsdecode(error.filename))}: {error.strerror}'


def check_name(path: str | Path, what: str = '') -> None:
    """Refuse a name that is not UTF-8, which libraries and tables do not take.

    Raises:
        UserError: The message shows it with escapes.
    """
    try:
        str(path).encode()
    except UnicodeError as error:
        raise UserError(f'{what}{ascii(str(path))}: the name is not UTF-8; rename it') from error


def check_file(path: str | Path) -> None:
    """Refuse what is no regular file: reading from a pipe or a device may never end.

    Raises:
        UserError: There is nothing of that name, something else, or what is not ours to read.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise UserError(f'cannot read {shown(path)}: {error.strerror}') from error
        raise UserError(f'there is no file {shown(path)}') from error
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise UserError(f'{shown(path)} is {name}, not a file')


def locked(path: Path) -> int | None:
    """Return an open file with a lock on it that nobody else has; None where another process has it."""
    if fcntl is None:
        return None
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is being written, or the file system knows no locks
        os.close(handle)
        return None
    return handle


def _made(path: Path) -> int | None:
    """Make a file and return it open with a lock on it; None where there are no locks."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            os.close(handle)
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # the file system knows none
            os.close(handle)
            return None
        if os.path.exists(path):
            return handle
        os.close(handle)  # taken for one of a killed run in the moment before it was locked


def _hidden(path: Path) -> Path:
    """Return a name beside `path`, with its ending, that nobody else takes."""
    return path.with_name(f'.{uuid.uuid4().hex}.partial{path.suffix}')


def new_locked(path: Path) -> int | None:
    """Make an empty file that has its lock as soon as it has its name; return it open, None where there are no locks.

    The lock ends when the file is closed, or with the process, however that ends.
    """
    partial = _hidden(path)
    handle = _made(partial)
    os.rename(partial, path)
    return handle


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a hidden file beside `path`, with its ending, that takes its place if no error comes.

    While it is written it is locked, so that :func:`remove_partial_files` can tell it from one of a killed run.

    Raises:
        UserError: What is there is a pipe or a device.
        OSError: It cannot be written; the name is that of `path`.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        check_file(path)
    partial = _hidden(path)
    handle: int | None = None
    try:
        handle = _made(partial)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(partial)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # of this name the user knows
    finally:
        with suppress(OSError):
            partial.unlink()
        if handle is not None:
            os.close(handle)


@contextmanager
def replacing_in(folder: Path) -> Iterator[Path]:
    """Give a hidden folder in `folder`, whose files take their places in that one if no error comes."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=_PARTIAL_FOLDER) as name:
        partial = Path(name)
        yield partial
        for file in sorted(partial.iterdir()):
            os.replace(file, folder / file.name)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give the path of a folder beside `path`, with its ending, for one process at a time to make.

    If it was made, and no error comes, it takes the place of `path`. One that a killed run left is removed.
    """
    partial = path.with_name(f'{path.stem}.partial{path.suffix}')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        if partial.exists():
            if path.exists():
                shutil.rmtree(path)
            os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def clear_away(folder: Path) -> None:
    """Remove what killed runs left half-written in a folder and below; nobody else may write there."""
    for parent, folders, files in os.walk(folder):
        for name in folders:
            if name.startswith(_PARTIAL_FOLDER):
                shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
        for name in filter(_PARTIAL.fullmatch, files):
            with suppress(OSError):
                os.unlink(os.path.join(parent, name))


def remove_partial_files(folders: Iterable[Path]) -> int:
    """Remove the files that killed runs left half-written in these folders; return how many."""
    removed = 0
    for folder in folders:
        try:
            names = [entry.name for entry in os.scandir(folder) if _PARTIAL.fullmatch(entry.name)]
        except OSError:  # it is not there yet
            continue
        for name in names:
            handle = locked(folder / name)
            if handle is not None:
                with suppress(OSError):
                    os.unlink(folder / name)
                    removed += 1
                os.close(handle)
    return removed


def _nearest(path: Path) -> Path:
    """Return the path itself, or what is there above it."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def check_length(path: Path, what: str = '') -> None:
    """Refuse a path, there or not, that is longer than its file system takes.

    Raises:
        UserError: The message shows its beginning.
    """
    try:
        limits = [os.pathconf(_nearest(path), name) for name in ('PC_NAME_MAX', 'PC_PATH_MAX')]
    except (AttributeError, OSError):  # not of this system, or a circle of links
        return
    lengths = max((len(os.fsencode(part)) for part in path.parts), default=0), len(os.fsencode(path)) + 1
    for length, limit, kind in zip(lengths, limits, ('name', 'path')):
        if length > limit:
            raise UserError(f'{what}{shown(path)[:40]}…: the {kind} is longer than {limit} bytes')


def check_folder(path: Path, what: str = '') -> None:
    """Refuse a folder in which nothing can be written, or that cannot be made.

    Args:
        path: The folder, which need not be there.
        what: Put before its name, such as an option.

    Raises:
        UserError: The message names the folder at fault.
    """
    check_length(path, what)
    nearest = _nearest(path)
    if not nearest.is_dir():
        if nearest == path and path.is_file():
            raise UserError(f'{what}{shown(path)} is a file; name a folder')
        raise UserError(f'{what}{shown(path)}: {shown(nearest)} is no folder')
    if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise UserError(f'{what}{shown(path)}: the folder {shown(nearest)} cannot be written to')
