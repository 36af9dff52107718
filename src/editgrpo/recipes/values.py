"""Values of a recipe against the annotations of the dataclass that they fill.

Everything follows from the annotations: dataclass, enum, `X | None`, `tuple[X, ...]`,
`dict[str, X]` and the plain scalars. No field is named here.
"""

import math
import reprlib
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from editgrpo.config.runs import REPLACED, SFTConfig, TrainConfig
from editgrpo.errors import ConfigError

_UNIONS = (Union, types.UnionType)
_MOST = 2**63 - 1  # PyTorch counts no further


def section_kind(kind: Any) -> type | None:
    """Return the dataclass that a field holds, itself or as an alternative to None."""
    alternatives = get_args(kind) if get_origin(kind) in _UNIONS else (kind,)
    for candidate in alternatives:
        if isinstance(candidate, type) and is_dataclass(candidate):
            return candidate
    return None


def plain_value(value: Any) -> Any:
    """Turn dataclasses, enums and tuples into what YAML has."""
    if is_dataclass(value):
        return {field.name: plain_value(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [plain_value(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def read_section(
    kind: type, value: Any, place: str, key: str = "", root: type | None = None
) -> dict[str, Any]:
    """Check a mapping against a dataclass and convert its values.

    Args:
        kind: The dataclass.
        value: What the YAML holds in its place.
        place: File or override, for error messages.
        key: Dotted key of the section; empty at the top.
        root: The dataclass at the top, whose keys are searched for a suggestion; None means `kind`.

    Returns:
        Field name to converted value; a section within stays a mapping. Only what was given.

    Raises:
        ConfigError: a key is unknown or a value has the wrong type.
    """
    root = root or kind
    if not isinstance(value, dict):
        raise _wrong(place, key, value, f"a section with keys {_known_names(kind)}")
    kinds = get_type_hints(kind)
    names = {field.name for field in fields(kind)}
    result = {}
    for name, item in value.items():
        dotted = f"{key}.{name}" if key else str(name)
        if name not in names:
            raise ConfigError(f"{place}: unknown key {dotted}; {_suggestion(root, kind, dotted)}")
        section = section_kind(kinds[name])
        if section is not None and isinstance(item, dict):
            result[name] = read_section(section, item, place, dotted, root)
        else:
            result[name] = _read_value(kinds[name], item, place, dotted)
    return result


def _read_value(kind: Any, value: Any, place: str, key: str) -> Any:
    """Check one value against the annotation of its field, and convert it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in _UNIONS:
        return _read_optional(arguments, value, place, key)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(place, key, value, "a list, such as [first, second]")
        return tuple(
            _read_value(arguments[0], item, place, f"{key}[{index}]")
            for index, item in enumerate(value)
        )
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise _wrong(place, key, value, "a mapping, such as {name: value}")
        return {
            name: _read_value(arguments[1], item, place, f"{key}.{name}")
            for name, item in value.items()
        }
    if isinstance(kind, type) and is_dataclass(kind):
        raise _wrong(place, key, value, f"a section with keys {_known_names(kind)}")
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _read_enum(kind, value, place, key)
    reader, expected = _SCALARS[kind]
    try:
        return reader(value)
    except ValueError:
        raise _wrong(place, key, value, expected) from None


def _read_optional(arguments: tuple[Any, ...], value: Any, place: str, key: str) -> Any:
    (inner,) = (argument for argument in arguments if argument is not types.NoneType)
    if value is None:
        return None
    try:
        return _read_value(inner, value, place, key)
    except ConfigError as error:
        raise ConfigError(f"{error}, or null") from None


def _read_enum(kind: type[Enum], value: Any, place: str, key: str) -> Enum:
    known = [str(member.value) for member in kind]
    if isinstance(value, str) and value in known:
        return kind(value)
    near = get_close_matches(str(value), known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise _wrong(place, key, value, f"one of {', '.join(known)}{hint}")


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _read_int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MOST:
        raise ValueError
    return value


def _read_float(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError
    try:
        number = float(value)
    except OverflowError as error:  # a whole number above 1.8e308
        raise ValueError from error
    if not math.isfinite(number):
        raise ValueError
    return number


def _read_str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


_SCALARS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    bool: (_read_bool, "true or false"),
    int: (_read_int, "a whole number"),
    float: (_read_float, "a finite number"),
    str: (_read_str, "text (in quotes if it looks like a number)"),
}


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80
_REPR.maxlevel = 3


def short(value: Any) -> str:
    """Show a value in a message: a recipe may hold one that is endless, through its anchors."""
    return _REPR.repr(value)


def _wrong(place: str, key: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(f"{place}: {key or 'the recipe'} is {short(value)}; it must be {expected}")


def _known_names(kind: type) -> str:
    return ", ".join(field.name for field in fields(kind))


def _suggestion(root: type, section: type, dotted: str) -> str:
    """Name the key that was probably meant: the same name elsewhere, else the nearest spelling."""
    if dotted in REPLACED:
        return REPLACED[dotted]
    known = [name for name in _dotted_names(root) if not dotted.startswith(f"{name}.")]
    last = dotted.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == last]
    near = same or get_close_matches(dotted, known, n=1, cutoff=0.7)
    if near:
        advice = f"did you mean {' or '.join(near[:2])}?"
    else:
        advice = f"known here: {_known_names(section)}"
    return advice + _other_command(root, dotted)


_COMMANDS: dict[type, str] = {SFTConfig: "sft", TrainConfig: "train"}


def _other_command(root: type, dotted: str) -> str:
    """Ask for the command that knows a key, if the recipe is read by another."""
    for kind, command in _COMMANDS.items():
        if root in _COMMANDS and kind is not root and dotted in _dotted_names(kind):
            return f"; is this a recipe for `editgrpo {command}`?"
    return ""


def _dotted_names(kind: type, prefix: str = "") -> Iterator[str]:
    kinds = get_type_hints(kind)
    for field in fields(kind):
        yield prefix + field.name
        section = section_kind(kinds[field.name])
        if section is not None:
            yield from _dotted_names(section, f"{prefix}{field.name}.")
