"""The JSON Schema of the option files, made of the models and of what is registered."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import maxl_sr.register  # noqa: F401  isort: skip  (first: it registers what is listed)
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
    Registry,
)
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from maxl_sr.data.sections import MixedPairs, MixedSets, PairSet, SyntheticDegradation, SyntheticNoise
from maxl_sr.schema.option_file import MAXLFile, MetaTransferFile, OtherDataset, OtherFile, Training
from maxl_sr.settings.components import KIND, component_model, is_objective
from maxl_sr.settings.docstrings import described, plain, summary
from maxl_sr.settings.values import registered

Json = dict[str, Any]
DIALECT = 'http://json-schema.org/draft-07/schema#'  # what editors understand
PACKAGE = 'maxl_sr.'


class Generator(GenerateJsonSchema):
    """Writes what editors of YAML understand, with the descriptions of the docstrings."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def tuple_schema(self, schema: core_schema.TupleSchema) -> Json:
        """Return a range as a list of so many items of one type; ``prefixItems`` is younger than many editors."""
        made = super().tuple_schema(schema)
        items = made.pop('prefixItems')
        return {**made, 'items': items[0]}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Json:
        """Return the schema without a default of null, where the key is left out and null is refused."""
        made = super().default_schema(schema)
        if made.get('default', 0) is None and 'anyOf' not in made:
            del made['default']
        return made

    def model_schema(self, schema: core_schema.ModelSchema) -> Json:
        """Return the schema of a model with the texts of its docstring."""
        made = super().model_schema(schema)
        return _with_texts(made, schema['cls'], 'Attributes')


def _with_texts(made: Json, cls: type, part: str) -> Json:
    """Add what the docstring of `cls` says, of itself and of its attributes or arguments."""
    texts = described(cls, part)
    properties = {key: {**value, 'description': plain(texts[key])} if key in texts else value
                  for key, value in made.get('properties', {}).items()}
    return {**made, 'description': plain(summary(cls)), 'properties': properties}


def _reference(name: str) -> Json:
    return {'$ref': f'#/definitions/{name}'}


class Definitions:
    """The schemas of the sections, each under a name.

    Attributes:
        found: The schemas.
    """

    def __init__(self) -> None:
        self.found: dict[str, Json] = {}

    def add(self, name: str, schema: Json) -> Json:
        """Add a schema and return the reference to it."""
        known = self.found.setdefault(name, schema)
        assert known == schema, f'there are two schemas of the name {name}'
        return _reference(name)

    def model(self, model: type[BaseModel]) -> Json:
        """Add the schema of a model and of those in it; return the reference to it."""
        made = model.model_json_schema(ref_template='#/definitions/{model}', schema_generator=Generator)
        for name, inner in made.pop('$defs', {}).items():
            self.add(name, inner)
        return self.add(model.__name__, made)

    def component(self, name: str, cls: Any) -> Json:
        """Add the schema of a registered class, whose arguments its constructor describes."""
        made = component_model(cls, typed=True, called=(name, )).model_json_schema(
            ref_template='#/definitions/{model}', schema_generator=Generator)
        assert '$defs' not in made
        return self.add(name, _with_texts(made, cls, 'Args'))


def by_type(known: Iterable[str], cases: Mapping[str, Json], key: str = 'type', default: str | None = None) -> Json:
    """Return the schema of a section whose `key` names what it describes.

    Args:
        known: Names that an editor proposes; any other is taken, too: a plug-in may register it.
        cases: The schemas of the sections of some of these names; of the others nothing is known.
        key: The key.
        default: Which of the cases it is where the key is missing; None: it must be there.
    """
    schema: Json = {'type': 'object', 'properties': {key: {'anyOf': [{'enum': sorted(known)}, {'type': 'string'}]}},
                    'allOf': [{'if': {'properties': {key: {'const': name}},
                                      'required': [] if name == default else [key]}, 'then': case}
                              for name, case in cases.items()]}
    return schema if default is not None else {**schema, 'required': [key]}


def otherwise(cases: Iterable[str], schema: Json, key: str = 'type') -> Json:
    """Return the condition that a section of a name that is none of the `cases` has this schema."""
    return {'if': {'properties': {key: {'not': {'enum': list(cases)}}}}, 'then': schema}


def ours(registry: Registry) -> dict[str, Any]:
    """Return the classes of this package in `registry`, by name."""
    return {name: cls for name, cls in sorted(registry) if cls.__module__.startswith(PACKAGE)}


def listed(registry: Registry) -> list[str]:
    """Return what an option file may call the components of BasicSR and of this package, sorted."""
    return sorted(name for name, item in registered(registry).items()
                  if item.__module__.startswith(('basicsr.', PACKAGE)))


def _components(definitions: Definitions, kind: str, registry: Registry, **classes: Any) -> None:
    """Add the sections of a kind: strict for the given classes, open for others of the registry."""
    cases = {name: definitions.component(name, cls) for name, cls in classes.items()}
    known = [name for name in listed(registry) if kind != 'objective' or name in classes]
    definitions.add(kind, by_type(known, cases))


def _datasets(definitions: Definitions) -> None:
    """Add the sections of data sets, and of the sets within one."""
    mixed = {'if': {'required': ['sets']}, 'then': definitions.model(MixedSets), 'else': definitions.model(MixedPairs)}
    cases = {'MixedPairedDataset': mixed, 'SyntheticNoiseDataset': definitions.model(SyntheticNoise),
             'SyntheticDegradationDataset': definitions.model(SyntheticDegradation)}
    schema = by_type(listed(DATASET_REGISTRY), cases)
    schema['allOf'].append(otherwise(cases, definitions.model(OtherDataset)))
    definitions.add('training_dataset', {'allOf': [definitions.add('dataset', schema), definitions.model(Training)]})
    sets = {'PairedImageDataset': definitions.model(PairSet), **{name: cases[name] for name in list(cases)[1:]}}
    definitions.add('set', by_type(sets, sets, default='PairedImageDataset'))


def _resolved(schema: Any) -> Any:
    """Put references where the models name a kind of section only."""
    if isinstance(schema, dict):
        kind = schema.get(KIND)
        rest = {key: _resolved(value) for key, value in schema.items() if key != KIND}
        return {**_reference(kind), **rest} if kind is not None else rest
    return [_resolved(item) for item in schema] if isinstance(schema, list) else schema


def make_schema() -> Json:
    """Return the schema of an option file."""
    definitions = Definitions()
    losses = ours(LOSS_REGISTRY)
    pictures = {name: cls for name, cls in losses.items() if 'forward' in vars(cls)}
    _components(definitions, 'objective', LOSS_REGISTRY,
                **{name: cls for name, cls in losses.items() if is_objective(cls)})
    _components(definitions, 'loss', LOSS_REGISTRY, **pictures)
    _components(definitions, 'network', ARCH_REGISTRY, **ours(ARCH_REGISTRY))
    _datasets(definitions)
    for kind, registry in (('metric_name', METRIC_REGISTRY), ('model_name', MODEL_REGISTRY)):
        definitions.add(kind, {'anyOf': [{'enum': listed(registry)}, {'type': 'string'}]})
    files = {'MAXLModel': definitions.model(MAXLFile), 'MetaTransferModel': definitions.model(MetaTransferFile)}
    top = by_type(listed(MODEL_REGISTRY), files, key='model_type')
    top['allOf'].append(otherwise(files, definitions.model(OtherFile), key='model_type'))
    schema: dict[str, Any] = _resolved({'$schema': DIALECT, 'title': 'Option file of maxl_sr and BasicSR', **top,
                                        'definitions': dict(sorted(definitions.found.items()))})
    return schema


def text() -> str:
    """Return the schema as it is written to the file."""
    return json.dumps(make_schema(), indent=1, ensure_ascii=False, allow_nan=False) + '\n'
