"""The check that every configuration makes of its fields."""

from typing import Any

from editgrpo.errors import ConfigError


def require(condition: bool, field_name: str, value: Any, expected: str) -> None:
    """Raise ConfigError in one line unless the condition holds."""
    if not condition:
        raise ConfigError(f"{field_name} is {value!r}; it must be {expected}")


def require_seed(seed: int) -> None:
    """Raise ConfigError unless NumPy and torch both take the seed."""
    require(0 <= seed < 2**32, "seed", seed, "from 0 to 2**32 - 1")
