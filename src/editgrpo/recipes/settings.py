"""Every key of a configuration with its default and meaning, from the dataclasses themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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


def list_settings(config: Any) -> Iterator[Setting]:
    """List the keys of a configuration, section by section.

    Args:
        config: A dataclass instance; its values are the defaults that are named.

    Yields:
        The settings in the order of declaration; a section that may be null stands for itself and
        is followed by its keys.
    """
    from editgrpo.config.validation import described_keys, without_null
    from editgrpo.recipes.schema import with_defaults

    for key, one in described_keys(with_defaults(config)):
        if "default" in one:
            choices = tuple(without_null(one).get("enum", ()))
            yield Setting(key, dump_inline(one["default"]), one.get("description", ""), choices)
