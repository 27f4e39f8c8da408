"""The temporary folder of a page, and those that killed pages have left."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maxl_sr.utils.files import locked, new_locked

PREFIX = 'maxl-sr-'
LOCK = 'lock'


def remove_stale_folders(parent: Path) -> int:
    """Remove the folders of pages that run no longer: nobody holds their lock. Return how many."""
    removed = 0
    for folder in parent.glob(f'{PREFIX}*'):
        with suppress(OSError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            handle = locked(folder / LOCK)
            if handle is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(handle)
                removed += 1
    return removed


@contextmanager
def page_folder() -> Iterator[Path]:
    """Give a temporary folder with a lock on it, which goes in the end, after those of killed pages have gone."""
    remove_stale_folders(Path(tempfile.gettempdir()))
    root = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    handle: int | None = None
    try:
        handle = new_locked(root / LOCK)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)
        if handle is not None:
            os.close(handle)
