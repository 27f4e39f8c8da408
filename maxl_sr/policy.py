"""The one policy of errors: what an error means to the user of a command, and the exit code.

A :class:`~maxl_sr.errors.UserError` is a mistake of the user's. A ``ValueError`` that is none is a fault of the
program, and keeps its traceback.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from maxl_sr.errors import UserError
from maxl_sr.startup import INTERRUPTED
from maxl_sr.utils.files import failure, shown
from maxl_sr.utils.memory import is_out_of_memory

Meaning = tuple[str | None, int]  # a sentence, and the exit code; None: that is not known


def meaning(error: Exception) -> Meaning:
    """Return what an error means to the user, and the exit code: 2 for a mistake or a fault of the machine."""
    if isinstance(error, UserError):
        return str(error).strip(), 2
    if isinstance(error, OSError) and error.strerror is not None:
        return str(UserError(failure(error))), 2
    if is_out_of_memory(error):
        named = isinstance(error, MemoryError) and error.args  # what did not fit
        return str(UserError(error)) if named else 'there is not enough memory', 2
    return None, 1


def told(work: Callable[[], int], means: Callable[[Exception], Meaning] = meaning,
         after_interruption: Callable[[], str] | str = '') -> int:
    """Do some work and return its exit code; what it fails of is told in one sentence.

    Args:
        work: Returns the exit code.
        means: What an error means; anything without a meaning is a fault of the program, and raised.
        after_interruption: What there is to say after Ctrl-C, whose code is 130.
    """
    try:
        return work()
    except KeyboardInterrupt:
        text = after_interruption if isinstance(after_interruption, str) else after_interruption()
        print(f'\ninterrupted{text and "; " + text}', file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        sentence, code = means(error)
        if sentence is None:
            raise
        print(f'error: {shown(sentence)}', file=sys.stderr)
        return code


@contextmanager
def told_once() -> Iterator[None]:
    """A mistake that every process of a run finds is told by the first; the others end."""
    try:
        yield
    except UserError:
        if os.environ.get('RANK', '0') != '0':
            sys.exit(2)
        raise
