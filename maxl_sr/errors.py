"""The one exception for a user's mistake."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

# What moves the cursor, breaks the line, or turns the direction of what follows
CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]')


class UserError(ValueError):
    """A mistake in what the user gave us, told in one sentence.

    The message names the file, key or value at fault. The command lines print it and exit with code 2;
    in a script it is an ordinary ``ValueError``.
    """

    def __init__(self, sentence: object = '') -> None:
        text = str(sentence)
        if 'Original Traceback' in text:  # put in front by torch, of what the worker of a data loader raises
            text = text.strip().splitlines()[-1].removeprefix(f'{UserError.__module__}.UserError: ')
        # One line, also where a file name has more
        super().__init__(CONTROL.sub(lambda match: repr(match[0])[1:-1], text))


@contextmanager
def telling(where: str) -> Iterator[None]:
    """Turn what BasicSR and torch raise at a wrong option into a ``UserError`` that names the section."""
    try:
        yield
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f'{where}: key {error} is missing') from error
    except Exception as error:
        raise UserError(f'{where}: {" ".join(str(error).split()) or type(error).__name__}') from error
