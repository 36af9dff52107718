"""JSON schemas of recipes, by which editors complete keys, check values and show what they mean."""

from typing import Any

from editgrpo.config.validation import schema_of
from editgrpo.recipes.values import plain_value


def recipe_schema(kind: type) -> dict[str, Any]:
    """Describe the recipes of a command.

    Args:
        kind: The dataclass that they fill, such as `TrainConfig`.

    Returns:
        A schema of draft 2020-12.
    """
    schema = with_defaults(kind())
    extends = {"type": "string", "description": "The recipe below this one: a name or a path."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": kind.__name__,
        "properties": {"extends": extends, **schema["properties"]},
    }


def with_defaults(config: Any) -> dict[str, Any]:
    """Describe a configuration with its own values as defaults.

    A section of a run may have others than the section by itself.
    """
    kind: type = type(config)
    return _with_defaults(schema_of(kind), plain_value(config))


def _with_defaults(schema: Any, value: Any) -> dict[str, Any]:
    if "properties" not in schema:
        return {**schema, "default": value}
    properties = schema["properties"].items()
    return {
        **schema,
        "properties": {name: _with_defaults(one, value[name]) for name, one in properties},
    }
