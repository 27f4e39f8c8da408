"""A folder that one process writes at a time."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maxl_sr.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Refuse a `folder` that another process has locked; the lock ends with the process, however that ends.

    The lock is a hidden file beside the folder, which may itself be renamed.
    """
    file = folder.with_name(f'.{folder.name}.lock')
    descriptor = _take(file, folder)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                file.unlink()
            os.close(descriptor)


def _take(file: Path, folder: Path) -> int | None:
    file.parent.mkdir(parents=True, exist_ok=True)
    while fcntl is not None:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == file.stat().st_ino:
                return descriptor
        except FileNotFoundError:  # the one before has just ended
            pass
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise UserError(f'{folder} is being written by another process; wait for it, or choose another name') \
                    from error
            return None  # a file system without locks
        os.close(descriptor)
    return None
