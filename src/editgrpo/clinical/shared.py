"""One copy of a model for each process, however many annotators and rewards use it."""

import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar, cast

from editgrpo.clinical.device import torch_device, torch_dtype
from editgrpo.clinical.weights import ClinicalModel, model_folder
from editgrpo.config import ClinicalConfig
from editgrpo.extras import Extra, require_extras

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


def shared_model(model: ClinicalModel, config: ClinicalConfig, load: Callable[[Path], T]) -> T:
    """Return a loaded model; load it on first use.

    Configurations that differ in other things than the model's files, device and number format
    (in their store, say) share one copy.

    Args:
        model: Which model.
        config: Where it lies and how it runs.
        load: Loads it from its folder, as the configuration says.

    Returns:
        What `load` returned, the same object for the life of the process.

    Raises:
        ModelError: the model is missing, or whatever `load` raises.
        ConfigError: the device does not exist.
        MissingExtraError: what runs the models is not installed.
    """
    require_extras(Extra.CLINICAL, what=f"model {model}")
    folder = model_folder(model, config)
    key = ("model", model, folder, torch_device(config), torch_dtype(config))
    return shared(key, lambda: load(folder))


def clinical_key(config: ClinicalConfig) -> tuple[Hashable, ...]:
    """Return a hashable stand-in for a configuration, equal for equal configurations."""
    return tuple(
        tuple(sorted(value.items())) if isinstance(value, dict) else value
        for value in (getattr(config, name) for name in ClinicalConfig.__dataclass_fields__)
    )
