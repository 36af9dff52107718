"""One copy of a model for each process, however many annotators and rewards use it."""

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

from editgrpo.config import ClinicalConfig

T = TypeVar("T")

_LOCK = threading.RLock()
_BUILT: dict[tuple[Hashable, ...], Any] = {}


def shared(key: tuple[Hashable, ...], build: Callable[[], T]) -> T:
    """Return the object of a key; build it on first use.

    Args:
        key: Everything that the object depends on, its kind first.
        build: Makes the object; what it raises is not remembered.

    Returns:
        The same object for equal keys, for the life of the process.
    """
    with _LOCK:
        if key not in _BUILT:
            _BUILT[key] = build()
        return cast(T, _BUILT[key])


def clinical_key(config: ClinicalConfig) -> tuple[Hashable, ...]:
    """Return a hashable stand-in for a configuration, equal for equal configurations."""
    return tuple(
        tuple(sorted(value.items())) if isinstance(value, dict) else value
        for value in (getattr(config, name) for name in ClinicalConfig.__dataclass_fields__)
    )
