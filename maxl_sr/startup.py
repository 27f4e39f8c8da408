"""What must happen before torch is loaded: imported first of all, and itself importing nothing large."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType, TracebackType

INTERRUPTED = 130
PACKAGE = Path(__file__).resolve().parent


def is_command() -> bool:
    """Whether the process is one of the command lines, and not a program that uses the package."""
    original = sys.orig_argv
    if '--multiprocessing-fork' in original:  # a worker of any program: it imports what it is sent
        return False
    if '-m' in original and original[original.index('-m') + 1:][:1]:
        module = original[original.index('-m') + 1]
        if module.split('.')[0] == PACKAGE.name:
            return True
    script = Path(sys.argv[0]) if sys.argv else Path()
    return script.name in ('maxl-sr', 'maxl-sr.exe') or script.parent.resolve() == PACKAGE


def wait_briefly() -> None:
    """Let the threads of OpenMP spin for microseconds only, then sleep: spinning, they take a busy CPU from each other.

    The runtime in torch's wheels reads this when it is loaded; what the user has chosen stays. Measured: see
    docs/reliability.md.
    """
    if not {'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'} & os.environ.keys():
        os.environ['GOMP_SPINCOUNT'] = '1000'


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b'\ninterrupted\n')
    os._exit(INTERRUPTED)  # nothing has begun; libraries that are being loaded make other errors of an exception


def _told(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print('\ninterrupted', file=sys.stderr)
        raise SystemExit(INTERRUPTED)
    if issubclass(kind, MemoryError):
        print('error: there is not enough memory, not even to load the libraries', file=sys.stderr)
        raise SystemExit(2)
    sys.__excepthook__(kind, error, traceback)


class Start:
    """Ctrl-C ends a command at once, without a traceback, while it loads its libraries."""

    def __init__(self) -> None:
        self.handler = None
        try:
            if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self.handler = signal.signal(signal.SIGINT, _end)
                sys.excepthook = _told
        except ValueError:  # not the main thread
            pass

    def over(self) -> None:
        """Hand Ctrl-C back: from here on it is a ``KeyboardInterrupt``, as ever."""
        if self.handler is not None:
            signal.signal(signal.SIGINT, self.handler)


os.environ.setdefault('VIPS_WARNING', '0')  # any value keeps libvips from writing its warnings to the standard error
wait_briefly()
start = Start()
