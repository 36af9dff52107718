"""The check that every configuration makes of its fields."""

from typing import Any

from editgrpo.errors import ConfigError


def require(condition: bool, field_name: str, value: Any, expected: str) -> None:
    """Raise ConfigError in one line unless the condition holds."""
    if not condition:
        raise ConfigError(f"{field_name} is {value!r}; it must be {expected}")
