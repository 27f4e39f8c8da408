"""The computations of the page: as many at a time as are allowed, and none for somebody who has left."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar('Result')
Check = Callable[[], None]

GRACE = 3.0  # seconds without a connection on which a visitor waits for the result


class StoppedError(Exception):
    """The visitor has stopped the computation, or has left, or the page ends."""


class Runs:
    """Threads that compute. Whoever is cancelled keeps no thread longer than to the next call of the run's check.

    Args:
        parallel: How many compute at a time. The others wait, whatever those who wait for the results do.
    """

    def __init__(self, parallel: int) -> None:
        self._pool = ThreadPoolExecutor(parallel, 'restore')
        self._lock = threading.Lock()
        self._stops: dict[str, set[threading.Event]] = {}
        self._streams: dict[str, int] = {}
        self._closed: dict[str, float] = {}
        self._ended = threading.Event()
        self._idle = threading.Condition(self._lock)
        self._computing = 0

    async def run(self, session: str, work: Callable[[Check], Result]) -> Result:
        """Return what `work` returns in one of the threads.

        Args:
            session: Of whom.
            work: Is given a function to call every so often, which ends it when nobody waits for it any more.

        Raises:
            StoppedError: It was ended.
        """
        stop, began = threading.Event(), time.monotonic()

        def check() -> None:
            if stop.is_set() or self._ended.is_set() or self._has_left(session, began):
                raise StoppedError

        def compute() -> Result:
            with self._lock:
                self._computing += 1
            try:
                check()
                return work(check)
            finally:
                with self._idle:
                    self._computing -= 1
                    self._idle.notify_all()

        with self._lock:
            self._stops.setdefault(session, set()).add(stop)
        try:
            if self._ended.is_set():
                raise StoppedError
            context = contextvars.copy_context()  # in which Gradio knows whose progress is told
            return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, compute)
        finally:
            stop.set()  # where the waiting was cancelled, the thread goes on otherwise
            with self._lock:
                stops = self._stops.get(session, set())
                stops.discard(stop)
                if not stops:
                    self._stops.pop(session, None)

    def stop(self, session: str) -> None:
        """End the computations of a session."""
        with self._lock:
            for stop in self._stops.get(session, ()):
                stop.set()

    def opened(self, session: str) -> None:
        """Note that somebody waits for the results of a session."""
        with self._lock:
            self._streams[session] = self._streams.get(session, 0) + 1

    def closed(self, session: str) -> None:
        """Note that one who waited for the results of a session does no longer."""
        now = time.monotonic()
        with self._lock:
            self._streams[session] = self._streams.get(session, 0) - 1
            if self._streams[session] <= 0:
                del self._streams[session]
            self._closed = {name: then for name, then in self._closed.items() if now - then < 60} | {session: now}

    def _has_left(self, session: str, began: float) -> bool:
        with self._lock:
            since = max(began, self._closed.get(session, 0))
            return session not in self._streams and time.monotonic() - since > GRACE

    def end(self, patience: float) -> bool:
        """End all computations, take no more, and return whether they are over within `patience` seconds."""
        self._ended.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._idle:
            return self._idle.wait_for(lambda: self._computing == 0, patience)
