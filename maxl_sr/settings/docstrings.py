"""What the docstring of a class says about its attributes and arguments."""

import inspect
import re


def described(cls: type, part: str) -> dict[str, str]:
    """Return the entries of the section `part` in the docstrings of `cls` and its bases, text by name, each one line.

    Args:
        cls: The class.
        part: ``Args`` or ``Attributes``.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, text = inspect.cleandoc(vars(base).get('__doc__') or '').partition(f'\n{part}:\n')
        for entry in re.findall(r'^ {4}(\S.*(?:\n {8}.*)*)', re.split(r'\n(?=\S)', text)[0], re.MULTILINE):
            name, colon, meaning = ' '.join(entry.split()).partition(': ')
            if colon:
                found[name] = meaning
    return found


def summary(cls: type) -> str:
    """Return the first paragraph of the docstring of `cls`, in one line."""
    return ' '.join(inspect.cleandoc(vars(cls).get('__doc__') or '').split('\n\n')[0].split())


def plain(text: str) -> str:
    """Return `text` without the marks of reStructuredText."""
    text = re.sub(r':\w+:`([^`]*)`', lambda match: re.split(r'[.~]', match[1])[-1], text)
    return text.replace('`', '')
