"""The check that every configuration makes of its values, by their annotations, as it is made."""

import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, dataclass_transform

from editgrpo.errors import ConfigError

ClassT = TypeVar("ClassT")

MOST = 2**63 - 1
"""PyTorch counts no further."""

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80
_REPR.maxlevel = 3


class Limits:
    """Marks a field with the least and the most that its number may be.

    Args:
        **limits: `ge`, `gt`, `le`, `lt`, as pydantic names them.
    """

    def __init__(self, **limits: float) -> None:
        self._limits = limits

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Return the schema that pydantic has for a field, with the limits in it."""
        schema = handler(source)
        schema.get("schema", schema).update(self._limits)  # of what may also be null
        return schema


class _Exact:
    """Marks a field, for pydantic: it takes no text for a number and no number for true."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Return the schema that pydantic has for a field, its scalars made strict."""
        schema = handler(source)
        _make_exact(schema)
        return schema


def _make_exact(schema: dict[str, Any]) -> None:
    if schema["type"] in ("bool", "int", "float"):
        schema["strict"] = True
    if schema["type"] == "int":
        schema.setdefault("le", MOST)
    inside = [schema[key] for key in ("schema", "values_schema") if key in schema]
    for part in (*inside, *(schema["items_schema"] if schema["type"] == "tuple" else ())):
        _make_exact(part)


Count = Annotated[int, Limits(ge=1)]
OptionalCount = Annotated[int | None, Limits(ge=1)]
ZeroOrMore = Annotated[int, Limits(ge=0)]
Seed = Annotated[int, Limits(ge=0, le=2**32 - 1)]
"""What NumPy and torch both take."""
ReportTokens = Annotated[int, Limits(ge=2)]
"""One, and the end-of-sequence token, at least."""
Positive = Annotated[float, Limits(gt=0)]
NotNegative = Annotated[float, Limits(ge=0)]
BetweenZeroAndOne = Annotated[float, Limits(gt=0, lt=1)]
ShareOfSteps = Annotated[float, Limits(gt=0, le=1)]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def settings(section: str = "") -> Callable[[type[ClassT]], type[ClassT]]:
    """Make a class a frozen dataclass whose values pydantic checks whenever one is made.

    What annotations cannot say is checked in `__post_init__`, with `require`.

    Args:
        section: Its dotted key in a recipe, which begins the names of its fields in messages.

    Returns:
        A decorator. Its classes raise ConfigError. They load pydantic where there is something to
        check: `editgrpo --help` does without.
    """

    def decorate(kind: type[ClassT]) -> type[ClassT]:
        kind.__annotations__ = {
            name: Annotated[one, _Exact()] for name, one in kind.__annotations__.items()
        }
        made: Any = dataclass(frozen=True, kw_only=True, slots=True)(kind)
        take_defaults = made.__init__

        def initialise(self: ClassT, **values: Any) -> None:
            if values:
                from editgrpo.config.validation import validated

                validated(type(self), values, self)
            else:
                take_defaults(self)

        made.__init__ = initialise
        made.__section__ = section
        made.__pydantic_config__ = {
            "extra": "forbid",
            "allow_inf_nan": False,
            "use_attribute_docstrings": True,
        }
        return made  # type: ignore[no-any-return]

    return decorate


def require(condition: bool, field_name: str, value: Any, expected: str) -> None:
    """Raise ConfigError in one line unless the condition holds."""
    if not condition:
        raise ConfigError(f"{field_name} is {value!r}; it must be {expected}")


def short(value: Any) -> str:
    """Show a value in a message: a recipe may hold one that is endless, through its anchors."""
    return _REPR.repr(value)
