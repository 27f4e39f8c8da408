"""YAML as a user writes it, read without surprises: plain values only, bounded, and no key twice."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from maxl_sr.errors import UserError

LARGEST = 2**20  # bytes of a file
VALUES = 100_000  # of a file, aliases written out
STRING, MERGE = 'tag:yaml.org,2002:str', 'tag:yaml.org,2002:merge'
# Numbers that are others than they look: 0100 is 64 for YAML, and 1:30 is 90
ODD = {'tag:yaml.org,2002:int': re.compile(r'[-+]?0[0-9_]+|.*:.*'), 'tag:yaml.org,2002:float': re.compile(r'.*:.*')}


def read_yaml(text: str, where: str) -> Any:
    """Return what a YAML text holds: dictionaries with text as keys, lists, text, numbers, true, false and null.

    Nothing is evaluated, and what an alias stands for is copied: no section is another one's.

    Raises:
        UserError: It is no YAML, has a key twice or one that is not text, an alias of itself, or too many values.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, where, {}, set())
        return _copied(loader.construct_document(node))
    except UserError:
        raise
    except RecursionError as error:
        raise UserError(f'{where} is nested too deeply') from error
    except Exception as error:  # YAML's own errors, and Python's at values such as !!int text
        raise UserError(f'{where} is not valid YAML: {" ".join(str(error).split())}') from error


def _check(node: yaml.Node, where: str, sizes: dict[int, int], above: set[int]) -> int:
    """Return the number of values below `node` with all aliases written out."""
    place = f'{where}, line {node.start_mark.line + 1}'
    if id(node) in above:
        raise UserError(f'{place}: an alias stands for a section that it is in')
    if id(node) not in sizes:
        above.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, where)
        sizes[id(node)] = 1 + sum(_check(child, where, sizes, above) for child in _children(node))
        above.remove(id(node))
        if sizes[id(node)] > VALUES:
            raise UserError(f'{place}: the aliases stand for more than {VALUES:,} values')
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node, place)
    return sizes[id(node)]


def _check_scalar(node: yaml.ScalarNode, place: str) -> None:
    if '\0' in node.value:
        raise UserError(f'{place}: a text cannot hold the character NUL')
    odd = ODD.get(node.tag)
    if odd is not None and odd.fullmatch(node.value):
        raise UserError(f"{place}: YAML takes {node.value} for another number than it looks; write a plain one, or "
                        f"'{node.value}' in quotes")


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        yield from (value for _, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _check_keys(node: yaml.MappingNode, where: str) -> None:
    seen = set()
    for key, _ in node.value:
        place = f'{where}, line {key.start_mark.line + 1}'
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (STRING, MERGE):
            text = key.value if isinstance(key, yaml.ScalarNode) else 'a list or section'
            raise UserError(f"{place}: a key must be text, not {text}{_hint(key)}")
        if key.value in seen and key.tag == STRING:
            raise UserError(f"{place}: key '{key.value}' is there twice")
        seen.add(key.value)


def _hint(key: yaml.Node) -> str:
    return f" (write '{key.value}' in quotes, if that is its name)" if isinstance(key, yaml.ScalarNode) else ''


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
