"""What must be done before anything else is imported.

Ctrl-C while a command of the package is still being imported ends it without a traceback.
"""

import os
import signal
import sys
import threading
from types import FrameType

STOPPED = 130
os.environ.setdefault('VIPS_WARNING', '0')  # any value keeps libvips from writing its warnings to the standard error


def _is_command() -> bool:
    """Return whether this process is one of the commands, not a program that imports the package."""
    given = sys.orig_argv[1:]
    module = given[given.index('-m') + 1] if '-m' in given[:-1] else ''
    return module.split('.')[0] == 'maxl_sr' or os.path.basename(sys.argv[0]) == 'maxl-sr'


def _stop(_: int, __: FrameType | None) -> None:
    sys.stderr.write('stopped\n')
    sys.stderr.flush()
    os._exit(STOPPED)  # half of the libraries are not there: nothing is open, nothing is to be cleaned up


def end() -> None:
    """Let Ctrl-C be what it is to everybody else."""
    if _watching and signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_watching = (_is_command() and threading.current_thread() is threading.main_thread()
             and signal.getsignal(signal.SIGINT) is signal.default_int_handler)
if _watching:
    signal.signal(signal.SIGINT, _stop)
