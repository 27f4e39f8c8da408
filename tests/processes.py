"""Commands as processes, interrupted."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


def interrupted(module: str, *arguments: str, seconds: float, cwd: Path | None = None) -> tuple[int, str]:
    """Exit code and errors of ``python -m module`` that gets Ctrl-C so many seconds after the package has been found.

    Not before: while Python itself starts, nobody can catch it.
    """
    process = subprocess.Popen([sys.executable, '-X', 'importtime', '-m', module, *arguments], stderr=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, text=True, cwd=cwd)
    assert process.stderr is not None
    while not process.stderr.readline().rstrip().endswith('maxl_sr.startup'):
        assert process.poll() is None
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    end = threading.Timer(60, process.kill)
    end.start()
    told = process.stderr.read()  # not `communicate`, which knows nothing of what readline has read beyond its line
    process.wait()
    end.cancel()
    told = '\n'.join(line for line in told.splitlines() if not line.startswith('import time:'))
    return process.returncode, told.strip()


def kill(child: int) -> None:
    """A forked process, killed and gone."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
