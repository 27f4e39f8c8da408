"""How functions of BasicSR are replaced, and how it gets its arguments."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def replace_everywhere(original: Any, new: Any) -> None:
    """Put `new` in place of a function or class of BasicSR, under its name in every module that has imported it."""
    attribute: str = original.__name__
    for name, module in list(sys.modules.items()):
        if name.split('.')[0] in ('basicsr', 'maxl_sr') and getattr(module, attribute, None) is original:
            setattr(module, attribute, new)


@contextmanager
def argv_of_basicsr(argv: Sequence[str]) -> Iterator[None]:
    """Let BasicSR see this command, its name first.

    Its ``parse_options`` and ``copy_opt_file`` take nothing but ``sys.argv``: this is the one place that sets it.
    """
    given = sys.argv
    sys.argv = list(argv)
    try:
        yield
    finally:
        sys.argv = given
