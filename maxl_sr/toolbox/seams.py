"""How functions of BasicSR are replaced."""

import sys
from typing import Any


def replace_everywhere(original: Any, new: Any) -> None:
    """Put `new` in place of a function or class of BasicSR, under its name in every module that has imported it."""
    attribute: str = original.__name__
    for name, module in list(sys.modules.items()):
        if name.split('.')[0] in ('basicsr', 'maxl_sr') and getattr(module, attribute, None) is original:
            setattr(module, attribute, new)
