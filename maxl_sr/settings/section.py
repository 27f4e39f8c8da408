"""A section of an option file as a model: which keys it has, and what their values may be."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from maxl_sr.errors import UserError
from maxl_sr.settings.messages import sentence


class Section(BaseModel):
    """A section: no other keys than its own, and values that do not change.

    Raises:
        UserError: When one is made, a key is unknown or missing, or a value has the wrong type or is out of range.
    """

    model_config = ConfigDict(extra='forbid', frozen=True, protected_namespaces=(), defer_build=True)

    if not TYPE_CHECKING:  # the arguments are those that the fields make

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise UserError(sentence(error, type(self), values, type(self).__name__)) from error

        __init__.__pydantic_base_init__ = True  # within another section pydantic makes it itself


Kind = TypeVar('Kind', bound=Section)


def parse(cls: type[Kind], given: Any, where: str) -> Kind:
    """Return the section `where` of an option file as an instance of `cls`.

    Raises:
        UserError: `given` is no section, has an unknown key, or a value has the wrong type or is out of range.
    """
    if not isinstance(given, Mapping):
        raise UserError(f'{where} must be a section, not {given!r}')
    try:
        return cls.model_validate(dict(given))
    except ValidationError as error:
        raise UserError(sentence(error, cls, given, where)) from error
