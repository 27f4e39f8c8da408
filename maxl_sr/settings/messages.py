"""The errors of pydantic in our words: one sentence that names section, key and value."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol, get_args, runtime_checkable

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from maxl_sr.settings.types import OURS

SECTIONS = ('model_type', 'model_attributes_type', 'dict_type', 'mapping_type')
BOUNDS = {'greater_than': ('greater than', 'gt'), 'greater_than_equal': ('at least', 'ge'),
          'less_than': ('less than', 'lt'), 'less_than_equal': ('at most', 'le')}
KINDS = {'float': 'a number', 'finite': 'a number', 'int': 'an integer', 'bool': 'true or false', 'string': 'text',
         'list': 'a list', 'sequence': 'a list', 'tuple': 'a list'}


@runtime_checkable
class Chooser(Protocol):
    """A type whose model is chosen by the key ``type`` of the section."""

    def model_of(self, name: str) -> type[BaseModel] | None:
        """Return the model of the sections of that type."""


def nearest(name: Any, known: Collection[str]) -> str:
    """Return the question after the one of the `known` names that is nearest to `name`, or the list of all."""
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f'known: {", ".join(known)}'


def keys(model: type[BaseModel]) -> list[str]:
    """Return the keys of the sections of a model."""
    return [field.alias or name for name, field in model.model_fields.items()]


def sentence(error: ValidationError, model: type[BaseModel] | Chooser, given: Any, where: str) -> str:
    """Return the first mistake, in the words of this package; an unknown key goes first.

    Args:
        error: What pydantic found.
        model: The model, or what chooses it, that the section was checked by.
        given: The section.
        where: Its place in the option file.
    """
    lines = error.errors(include_url=False)
    line = next((line for line in lines if line['type'] == 'extra_forbidden'), lines[0])
    *above, last = line['loc'] or (None, )
    kind, context, value = line['type'], line.get('ctx', {}), line['input']
    if kind in ('extra_forbidden', 'missing'):
        place, _, holder = _follow(model, given, where, above)
        if kind == 'missing':
            return f"{place}: key '{last}' is missing"
        known = keys(holder) if isinstance(holder, type) else []
        return f"{place}: unknown key '{last}'; {nearest(last, known)}"
    place, whole, _ = _follow(model, given, where, line['loc'])
    if kind == OURS:
        return f'{place}{line["msg"]}'
    if kind == 'union_tag_invalid':
        return f'{place}: type: unknown name {value["type"]!r}; {nearest(value["type"], _quoted(context))}'
    if kind in SECTIONS:
        return f'{place} must be a section, not {value!r}'
    if kind == 'literal_error':
        near = difflib.get_close_matches(str(value), _quoted(context), n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else ''
        return f'{place} must be one of {", ".join(_quoted(context))}, not {value!r}{hint}'
    if kind in BOUNDS:
        words, key = BOUNDS[kind]
        return f'{place} must be {words} {context[key]:.15g}, not {whole!r}'
    named = KINDS.get((context['class'] if kind == 'is_instance_of' else kind).split('_')[0].lower())
    if named is not None:
        return f'{place} must be {named}, not {value!r}'
    return f'{place}: {line["msg"]}'


def _quoted(context: Mapping[str, Any]) -> list[str]:
    return re.findall(r"'([^']*)'", context.get('expected') or context.get('expected_tags') or '')


def _follow(model: Any, given: Any, place: str, path: Collection[int | str]) -> tuple[str, Any, Any]:
    """Return the place to which `path` leads in the option file, the value there, and its model.

    Of an end of a range it is the whole range.
    """
    for part in path:
        if isinstance(part, int):
            if not isinstance(given, (list, tuple)) or not isinstance(given[part], Mapping):
                continue
            place, given = f'{place}[{part}]', given[part]
        elif isinstance(model, Chooser) and isinstance(given, Mapping):  # the type of the section, for its model
            model = model.model_of(part)
        else:
            place, given = f'{place}: {part}', given.get(part) if isinstance(given, Mapping) else None
            model = _of_key(model, part)
    return place, given, model


def _of_key(model: Any, key: str) -> Any:
    for name, field in getattr(model, 'model_fields', {}).items():
        if key == (field.alias or name):
            return next(_inside(field), None)
    return None


def _inside(annotation: Any) -> Iterator[Any]:
    """Yield the models, and what chooses one, within an annotation."""
    if isinstance(annotation, FieldInfo):
        yield from _inside(annotation.annotation)
        yield from (part for part in annotation.metadata if isinstance(part, Chooser))
    elif isinstance(annotation, Chooser) or isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in [*get_args(annotation), *getattr(annotation, '__metadata__', ())]:
        yield from _inside(part)
