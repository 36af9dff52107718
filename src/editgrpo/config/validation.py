"""Values against the annotations of a configuration, by pydantic, and its complaints in our words.

No field is named here. All that is said of one follows from the JSON schema that pydantic makes.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from editgrpo.config.check import MOST, short
from editgrpo.config.runs import COMMANDS, REPLACED, REPLACED_VALUES
from editgrpo.errors import ConfigError

Schema = Mapping[str, Any]

_KINDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a finite number",
    "string": "text (in quotes if it looks like a number)",
    "array": "a list, such as [first, second]",
    "object": "a mapping, such as {name: value}",
}
_LIMITS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}
_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_NAME_OF_ENTRY = "[key]"
"""Pydantic's last step to a fault in the name of a mapping's entry."""
_UNKNOWN = ("unexpected_keyword_argument", "invalid_key")
_OF_MORE_THAN_TYPE = (*_OUT_OF_RANGE, "value_error")


class _Generator(GenerateJsonSchema):
    """Leaves out titles, which repeat the names of fields, and the limit of all whole numbers."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def int_schema(self, schema: Any) -> dict[str, Any]:
        made = super().int_schema(schema)
        return {key: value for key, value in made.items() if value != MOST}


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def validated(kind: type, values: Any, config: Any = None, *, types_alone: bool = False) -> Any:
    """Check the values of a configuration and convert them.

    Args:
        kind: A class that `editgrpo.config.check.settings` has made.
        values: What differs from the defaults: plain values, as YAML has them, or ready ones.
        config: The object that takes them; None makes one.
        types_alone: Look for unknown keys and wrong types alone, not for values out of range.

    Returns:
        The configuration; None if only `types_alone` lets it pass.

    Raises:
        ConfigError: a key is unknown, or a value is of the wrong type or out of range, or values
            contradict each other; one line, without the place.
    """
    try:
        return _adapter(kind).validator.validate_python(values, self_instance=config)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    if types_alone:
        faults = [fault for fault in faults if fault["type"] not in _OF_MORE_THAN_TYPE]
    if faults:
        first = min(faults, key=lambda fault: fault["type"] not in _UNKNOWN)
        raise ConfigError(_complaint(kind, first))
    return None


@cache
def schema_of(kind: Any) -> Schema:
    """Return the JSON schema of a configuration, its sections in their places.

    Args:
        kind: A class that `editgrpo.config.check.settings` has made.

    Returns:
        The schema; its title is the key of the section. Descriptions are on one line, with `null`
        as YAML has it.
    """
    schema = _adapter(kind).json_schema(schema_generator=_Generator)
    return {**_in_place(schema, schema.pop("$defs", {})), "title": kind.__section__}


def _in_place(value: Any, parts: Schema) -> Any:
    if isinstance(value, list):
        return [_in_place(item, parts) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        value = {**parts[value["$ref"].rpartition("/")[2]], **value}
    if isinstance(text := value.get("description"), str):
        value = {**value, "description": re.sub(r"\bNone\b", "null", " ".join(text.split()))}
    return {key: _in_place(item, parts) for key, item in value.items() if key != "$ref"}


def without_null(schema: Schema) -> Schema:
    """Return what a value may be besides null."""
    return schema["anyOf"][0] if "anyOf" in schema else schema


def _complaint(kind: type, fault: Any) -> str:
    """Say in one line what is wrong with a value."""
    if "error" in fault.get("ctx", {}):  # what a `__post_init__` says
        return str(fault["ctx"]["error"])
    above = node = schema_of(kind)
    key: str = node["title"]
    for step in fault["loc"]:
        above, node = node, _below(without_null(node), step)
        key += f"[{step}]" if without_null(above).get("type") == "array" else f".{step}"
    key = key.removeprefix(".").removesuffix(f".{_NAME_OF_ENTRY}")
    if fault["type"] in _UNKNOWN:
        return f"unknown key {key}; {_advice(kind, without_null(above), key)}"
    if fault["type"].startswith("missing"):
        return f"{key} is missing"
    given = fault["input"]
    if isinstance(given, str) and given in (gone := REPLACED_VALUES.get(key, {})):
        return f"{key}={given} {gone[given]}"
    is_limit = fault["type"] in _OUT_OF_RANGE and MOST not in fault["ctx"].values()
    meant = _range(without_null(node)) if is_limit else _kind(without_null(node), given)
    or_null = ", or null" if "anyOf" in node else ""
    return f"{key or 'the recipe'} is {short(given)}; it must be {meant}{or_null}"


def _below(schema: Schema, step: str | int) -> Schema:
    """Return the schema of what lies in a value under a name or number."""
    if step == _NAME_OF_ENTRY:
        return {"type": "string"}
    if step in schema.get("properties", {}):
        return schema["properties"][step]  # type: ignore[no-any-return]
    if schema.get("type") == "array":
        return schema.get("items") or schema["prefixItems"][0]  # type: ignore[no-any-return]
    below = schema.get("additionalProperties")
    return below if isinstance(below, dict) else {}


def _kind(schema: Schema, value: Any) -> str:
    if "properties" in schema:
        return f"a section with keys {', '.join(schema['properties'])}"
    if "enum" in schema:
        near = get_close_matches(str(value), schema["enum"], n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"one of {', '.join(schema['enum'])}{hint}"
    return _KINDS[schema["type"]]


def _range(schema: Schema) -> str:
    match schema:
        case {"exclusiveMinimum": low, "exclusiveMaximum": high}:
            return f"between {low} and {high}"
        case {"minimum": low, "maximum": high}:
            return f"from {low} to {high}"
    limits = (f"{word} {schema[name]}" for name, word in _LIMITS.items() if name in schema)
    return ", ".join(limits)


def _advice(root: type, section: Schema, unknown: str) -> str:
    """Name the key that was probably meant: the same name elsewhere, else the nearest spelling."""
    if unknown in REPLACED:
        return REPLACED[unknown]
    known = [name for name in _keys(root) if not unknown.startswith(f"{name}.")]
    last = unknown.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == last]
    near = same or get_close_matches(unknown, known, n=1, cutoff=0.7)
    advice = (
        f"did you mean {' or '.join(near[:2])}?"
        if near
        else f"known here: {', '.join(section['properties'])}"
    )
    others = (kind for kind in COMMANDS if root in COMMANDS and kind is not root)
    for kind in others:
        if unknown in _keys(kind):
            advice += f"; is this a recipe for `editgrpo {COMMANDS[kind]}`?"
    return advice


def _keys(kind: type) -> Iterator[str]:
    schema = schema_of(kind)
    return (key for key, _ in described_keys(schema, f"{schema['title']}.".removeprefix(".")))


def described_keys(schema: Schema, prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """List the keys of a configuration, each with its own schema, those of sections after them."""
    for name, below in schema["properties"].items():
        yield f"{prefix}{name}", below
        if "properties" in without_null(below):
            yield from described_keys(without_null(below), f"{prefix}{name}.")
