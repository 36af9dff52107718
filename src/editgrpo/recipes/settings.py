"""Every key of a configuration with its default and meaning, from the dataclasses themselves."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, get_type_hints

from editgrpo.recipes.values import plain_value, section_kind
from editgrpo.recipes.yaml_core import dump_inline


@dataclass(frozen=True, slots=True)
class Setting:
    """One key that a recipe or `--set` may give.

    Attributes:
        key: Dotted key.
        default: Its default, as YAML on one line.
        meaning: What it does, on one line; empty if the field has no docstring.
        choices: The values of an enumeration; empty if any value of the type will do.
    """

    key: str
    default: str
    meaning: str
    choices: tuple[str, ...] = ()


def list_settings(config: Any, prefix: str = "") -> Iterator[Setting]:
    """List the keys of a configuration, section by section.

    Args:
        config: A dataclass instance; its values are the defaults that are named.
        prefix: What stands before each key.

    Yields:
        The settings in the order of declaration; a section that may be null stands for itself and
        is followed by its keys.
    """
    kinds = get_type_hints(type(config))
    meanings = _field_docstrings(type(config))
    for field in fields(config):
        value, kind = getattr(config, field.name), section_kind(kinds[field.name])
        key = prefix + field.name
        if kind is None or value is None:
            default = dump_inline(plain_value(value))
            choices = (
                tuple(str(one.value) for one in type(value)) if isinstance(value, Enum) else ()
            )
            yield Setting(key, default, meanings.get(field.name, ""), choices)
        if kind is not None:
            yield from list_settings(kind() if value is None else value, f"{key}.")


def _field_docstrings(kind: type) -> dict[str, str]:
    """Read the strings below the fields of a class; Python itself does not keep them."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            text = " ".join(str(below.value.value).split())
            found[field.target.id] = re.sub(r"\bNone\b", "null", text)  # as YAML has it
    return found
