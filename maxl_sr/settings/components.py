"""Sections whose ``type`` names a registered class: a model of each, made of its constructor."""

import functools
import inspect
import operator
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from basicsr.utils.registry import LOSS_REGISTRY, Registry
from pydantic import (
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import CoreSchema, core_schema

from maxl_sr.errors import UserError
from maxl_sr.settings import types as values
from maxl_sr.settings.messages import nearest, sentence
from maxl_sr.settings.section import Section
from maxl_sr.settings.values import check_choice, names, registered

KIND = 'x-kind'  # in place of a JSON Schema, of a section whose schema is that of the registered classes
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Component(Section):
    """A section whose ``type`` names a registered class; the other keys are the arguments of its constructor."""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that were given."""
        fields = type(self).model_fields
        given = {fields[name].alias or name: getattr(self, name) for name in fields if name in self.model_fields_set}
        return {key: value for key, value in {**given, **(self.model_extra or {})}.items() if key != 'type'}


class OpenComponent(Component):
    """One whose class takes any argument."""

    model_config = ConfigDict(extra='allow')


@functools.cache
def component_model(cls: Any, typed: bool = False, called: tuple[str, ...] = ()) -> type[Component]:
    """Return the model of the sections that describe an instance of the registered `cls`.

    Args:
        cls: A class, or a function that makes an instance.
        typed: Whether values are checked against the annotations of the constructor, and converted where YAML reads
            numbers as text; otherwise they are handed over as they are.
        called: The names that ``type`` may be; none: any.
    """
    maker = inspect.getattr_static(cls, '__init__') if isinstance(cls, type) else cls
    try:
        hints = get_type_hints(maker, include_extras=True)
    except Exception:  # annotations that cannot be read from here
        hints = {}
    fields: dict[str, Any] = {'type': (Literal[called] if called else str, ...)}
    parameters = inspect.signature(cls).parameters.values()
    for number, parameter in enumerate(parameters):
        if parameter.kind in NAMED:
            default = ... if parameter.default is parameter.empty else parameter.default
            kind = _type(parameter.name, hints.get(parameter.name), default) if typed else Any
            # An argument may be called as a method of pydantic's
            fields[f'argument_{number}'] = (kind, Field(default, alias=parameter.name))
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return create_model(cls.__name__, __base__=OpenComponent if open_ended else Component, __module__=cls.__module__,
                        **fields)


def _type(name: str, hint: Any, default: Any) -> Any:
    """Return the type that is checked where a constructor has this annotation; any, where it is not one of ours."""
    kinds: dict[Any, Any] = {int: values.Integer, bool: values.Flag, str: values.Text,
             float: values.Number if name == 'loss_weight' else Annotated[float, values.STRICT, values.NUMBER]}
    kind: Any
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and hint in kinds:
        kind = kinds[hint]
    elif origin is Literal:
        kind = Annotated[(hint, *values.NO)] if 'no' in arguments else hint
    elif origin in (Annotated, Sequence) and _is_known(hint):
        kind = hint
    elif origin in (Union, types.UnionType) and type(None) in arguments:
        inner = [argument for argument in arguments if argument is not type(None)]
        kind = _type(name, inner[0], default) if len(inner) == 1 else Any
        return kind if kind is Any else kind | None
    else:
        return Any
    return kind | None if default is None else kind


def _is_known(hint: Any) -> bool:
    try:
        TypeAdapter(hint)
    except PydanticSchemaGenerationError:  # of a class that pydantic does not know
        return False
    return True


def check_component(where: str, given: Any, registry: Registry) -> dict[str, Any]:
    """Return the constructor arguments of the section `given`, whose ``type`` names a component of `registry`.

    Raises:
        UserError: `given` is no section, its type is unknown, or the constructor has no such argument or lacks one.
    """
    if not isinstance(given, Mapping) or 'type' not in given:
        raise UserError(f"{where} must be a section with the key 'type', not {given!r}")
    check_choice(f'{where}: type', given['type'], names(registry))
    model = component_model(registered(registry)[given['type']])
    try:
        return model.model_validate(dict(given)).arguments()
    except ValidationError as error:
        raise UserError(sentence(error, model, given, where)) from error


def is_objective(found: Any) -> bool:
    """Whether what is registered may be an inner objective: a class with the methods of one, or a function."""
    return not isinstance(found, type) or hasattr(found, 'prepare') and hasattr(found, 'loss')


def objectives() -> tuple[tuple[str, Any], ...]:
    """Return name and class of what is registered as an inner objective at the moment."""
    return tuple((name, cls) for name, cls in registered(LOSS_REGISTRY).items() if is_objective(cls))


@functools.lru_cache(4)
def _union(found: tuple[tuple[str, Any], ...]) -> TypeAdapter[Any]:
    """Return the union of the models of the objectives, told apart by ``type``."""
    called: dict[Any, tuple[str, ...]] = {}
    for name, cls in found:
        called[cls] = (*called.get(cls, ()), name)
    models = [component_model(cls, True, own) for cls, own in called.items()]
    union: Any = functools.reduce(operator.or_, models)
    if len(models) > 1:
        union = Annotated[union, Field(discriminator='type')]
    return TypeAdapter(union)


@dataclass(frozen=True)
class ObjectiveRule:
    """The type of a section that describes an inner objective; it becomes a dictionary with the values checked."""

    def model_of(self, name: str) -> type[Component] | None:
        """Return the model of the sections of that type."""
        return component_model(registered(LOSS_REGISTRY)[name], typed=True)

    def check(self, given: Any) -> dict[str, Any]:
        """Return the section with its numbers read; the registered classes of the moment decide."""
        if not isinstance(given, Mapping) or 'type' not in given:
            raise values.refusal(f" must be a section with the key 'type', not {given!r}")
        name, known, found = given['type'], names(LOSS_REGISTRY), objectives()
        if not isinstance(name, str) or name not in known:
            raise values.refusal(f': type: unknown name {name!r}; {nearest(name, known)}')
        if name not in dict(found):
            raise values.refusal(f': {name} is no inner objective: it lacks prepare and loss')
        return {'type': name, **_union(found).validate_python(dict(given)).arguments()}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {KIND: 'objective'}


@dataclass(frozen=True)
class KindRule:
    """The type of a section that describes an instance of a registered class, which is checked elsewhere.

    Attributes:
        kind: 'loss', 'network' and so on.
    """

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {KIND: self.kind}


ObjectiveSection = Annotated[dict[str, Any], ObjectiveRule()]
LossSection = Annotated[dict[str, Any], KindRule('loss')]
NetworkSection = Annotated[dict[str, Any], KindRule('network')]
OBJECTIVE: TypeAdapter[dict[str, Any]] = TypeAdapter(ObjectiveSection)


def check_objective_section(where: str, given: Any) -> dict[str, Any]:
    """Return the section of an inner objective with its numbers read.

    Raises:
        UserError: No inner objective is registered under its type, or an argument is unknown or of the wrong type.
    """
    try:
        return OBJECTIVE.validate_python(given)
    except ValidationError as error:
        raise UserError(sentence(error, ObjectiveRule(), given, where)) from error
