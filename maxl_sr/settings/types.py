"""The types of values in an option file, with their ranges, as YAML 1.1 hands the values over."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

OURS = 'ours'  # type of an error whose message is the rest of the sentence, after the place
Value = TypeVar('Value')


@dataclass(frozen=True)
class Needed:
    """Marks a key that can be left out of some option files only.

    Attributes:
        when: When it is needed, to be read after 'required'.
    """

    when: str


def refusal(rest: str) -> PydanticCustomError:
    """Return the error of a validator; `rest` is what follows the place of the value in the message."""
    return PydanticCustomError(OURS, rest)


def wanted(what: str) -> WrapValidator:
    """Return a validator that says what is wanted instead of what exactly is wrong with a value."""

    def check(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise refusal(f' must be {what}, not {value!r}') from error

    return WrapValidator(check)


def _number(value: Any) -> Any:
    """Read what YAML 1.1 takes for text, for want of a dot: 1e-3."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value


def _integer(value: Any) -> Any:
    number = _number(value)
    return int(number) if isinstance(value, str) and isinstance(number, float) and number.is_integer() else value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flag(value: Any) -> Any:
    text = value.strip().lower() if isinstance(value, str) else value
    return {'true': True, 'false': False}[text] if text in ('true', 'false') else value


def _choice(value: Any) -> Any:
    return 'no' if value is False else value  # how YAML 1.1 reads no


def _also_false(schema: dict[str, Any]) -> None:
    schema['enum'] = [*schema['enum'], False]
    del schema['type']  # that of text


def _pair(value: Any) -> Any:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise refusal(f' must be a pair of numbers, not {value!r}')
    return tuple(value)


def _ordered(value: tuple[Any, Any]) -> tuple[Any, Any]:
    if value[0] > value[1]:
        raise refusal(f' must go from low to high, not {list(value)}')
    return value


NUMBER = BeforeValidator(_number)
INTEGER = BeforeValidator(_integer)
STRICT = Field(strict=True)
FINITE = Field(strict=True, allow_inf_nan=False)
# Of choices with 'no' among them
NO = (BeforeValidator(_choice), Field(json_schema_extra=_also_false))

Number = Annotated[float, FINITE, NUMBER]
Positive = Annotated[float, FINITE, Gt(0), NUMBER]
PositiveOrInf = Annotated[float, STRICT, Gt(0), NUMBER]
NotNegative = Annotated[float, FINITE, Ge(0), NUMBER]
AtLeast1 = Annotated[float, FINITE, Ge(1), NUMBER]
Share = Annotated[float, FINITE, Ge(0), Le(1), NUMBER]
ShareAbove0 = Annotated[float, FINITE, Gt(0), Le(1), NUMBER]
ShareBelow1 = Annotated[float, FINITE, Ge(0), Lt(1), NUMBER]
Integer = Annotated[int, STRICT, INTEGER]
Index = Annotated[int, STRICT, Ge(0), INTEGER]
Count = Annotated[int, STRICT, Ge(1), INTEGER]
AtLeast2 = Annotated[int, STRICT, Ge(2), INTEGER]
AtLeast3 = Annotated[int, STRICT, Ge(3), INTEGER]
Flag = Annotated[bool, STRICT, BeforeValidator(_flag)]
Text = Annotated[str, STRICT]
# Low and high end of a range from which every image draws
Pair = Annotated[tuple[Value, Value], AfterValidator(_ordered), BeforeValidator(_pair)]

# Of keys that BasicSR reads as they are: nothing is converted, but that a float without fraction, as 4e5, is an integer
PlainFlag = Annotated[bool, STRICT]
PlainNumber = Annotated[float, FINITE]
PlainIndex = Annotated[int, STRICT, Ge(0), wanted('an integer of at least 0')]
PlainCount = Annotated[int, STRICT, Ge(1), wanted('an integer of at least 1')]
WholeCount = Annotated[int, STRICT, Ge(1), BeforeValidator(_whole), wanted('an integer of at least 1')]
WholeIndex = Annotated[int, STRICT, Ge(0), BeforeValidator(_whole), wanted('an integer of at least 0')]
