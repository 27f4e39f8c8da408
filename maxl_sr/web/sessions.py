"""The files of everyone who has the page open; they go with the session."""

import contextlib
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

CLAIMED = 300.0  # seconds after which an upload that no session has is removed
RESERVE = 200e6  # bytes that the disk keeps free


class Sessions:
    """The folders of everyone who has the page open.

    A session is named by the browser, so its name is never a part of a path.

    Args:
        folder: Where Gradio keeps uploaded files, and where results go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._folders: dict[str, set[Path]] = {}
        self._results: dict[str, list[Path]] = {}
        self._lock = threading.Lock()

    def new_folder(self, session: str) -> Path:
        """Make a folder for a result of a session."""
        path = self.folder / f'result-{secrets.token_hex(16)}'
        path.mkdir(parents=True)
        with self._lock:
            self._results.setdefault(session, []).append(path)
        return path

    def keep_one_result(self, session: str, path: Path, whole: bool) -> None:
        """Remove the earlier results of a session once `path` is there, or `path` itself if it is none."""
        with self._lock:
            results = self._results.pop(session, [])
            whole = whole and path in results  # otherwise the session has ended meanwhile
            if whole:
                self._results[session] = [path]
            elif left := [other for other in results if other != path]:
                self._results[session] = left
        for other in (other for other in {path, *results} if (other == path) != whole):
            shutil.rmtree(other, ignore_errors=True)

    def uploaded(self, session: str, path: Path) -> None:
        """Note that a session has a file; Gradio keeps equal files of several sessions as one."""
        if len(path.resolve().parents) > 1 and path.resolve().parents[1] == self.folder:
            with self._lock:
                self._folders.setdefault(session, set()).add(path.resolve().parent)

    def has(self, folder: Path) -> bool:
        """Return whether a session has the file in this folder."""
        with self._lock:
            return any(folder in folders for folders in self._folders.values())

    def end(self, session: str) -> None:
        """Remove the folders of a session, but for those that another one has, too."""
        with self._lock:
            gone = self._folders.pop(session, set())
            gone -= set().union(*self._folders.values())
            lost = [*gone, *self._results.pop(session, [])]
        for path in lost:
            shutil.rmtree(path, ignore_errors=True)


@dataclass
class _Visitor:
    arriving: int = 0  # bytes
    files: dict[Path, float] = field(default_factory=dict)  # and when they came

    def held(self) -> int:
        total = self.arriving
        for path in list(self.files):
            try:
                total += path.stat().st_size
            except OSError:  # it went with its session
                del self.files[path]
        return total


class Uploads:
    """What every visitor, told apart by address, has on the disk, and a limit to it.

    Args:
        sessions: Of the page.
        limit: Bytes that a visitor may have on the disk at a time.
    """

    def __init__(self, sessions: Sessions, limit: float) -> None:
        self._sessions, self._limit = sessions, limit
        self._visitors: dict[str, _Visitor] = {}
        self._lock = threading.Lock()

    def begin(self, visitor: str, size: int) -> str | None:
        """Note that a visitor sends so many bytes; return why they are refused, or None."""
        folder = self._sessions.folder
        with self._lock:
            known = self._visitors.setdefault(visitor, _Visitor())
            if known.held() + size > self._limit:
                return f'your photographs would be more than {self._limit / 1e6:g} MB; close the page to remove them'
            arriving = sum(other.arriving for other in self._visitors.values())
            if shutil.disk_usage(folder if folder.exists() else folder.parent).free < arriving + 2 * size + RESERVE:
                return 'the disk of this computer is full; try again later'
            known.arriving += size
        return None

    def end(self, visitor: str, size: int, files: list[Path]) -> None:
        """Note that the bytes are there, in these files, or that nothing came of them: no files."""
        with self._lock:
            known = self._visitors[visitor]
            known.arriving -= size
            known.files |= dict.fromkeys(files, time.monotonic())
            quiet = not any(other.arriving for other in self._visitors.values())
            if quiet and self._sessions.folder.is_dir():
                for path in self._sessions.folder.iterdir():  # of uploads that were broken off
                    if path.is_file():
                        with contextlib.suppress(OSError):
                            path.unlink()

    def sweep(self) -> None:
        """Remove the files that came some time ago and that no session has: of a page that was closed meanwhile."""
        now = time.monotonic()
        with self._lock:
            for name, visitor in list(self._visitors.items()):
                for path, came in list(visitor.files.items()):
                    if not self._sessions.has(path.parent) and now - came > CLAIMED:
                        shutil.rmtree(path.parent, ignore_errors=True)
                if not visitor.held() and not visitor.files:
                    del self._visitors[name]
