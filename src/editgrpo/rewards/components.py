"""The metrics that score one report, by name: what a reward can be made of."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError, nearest_name
from editgrpo.metrics.component import Component
from editgrpo.metrics.table import TABLE

_LOADERS = {name: metric.load for name, metric in TABLE.items() if metric.load is not None}

COMPONENT_NAMES: tuple[str, ...] = tuple(_LOADERS)
"""Names that `load_component` knows."""

TRAINABLE_NAMES: tuple[str, ...] = tuple(
    name for name, metric in TABLE.items() if metric.refusal is None
)
"""Those of them that may be trained on."""


def load_component(
    name: str, config: ClinicalConfig | None = None, *, class_rates: Path | None = None
) -> Component[Any]:
    """Load a metric of one report against its reference.

    Args:
        name: One of `COMPONENT_NAMES`.
        config: Where models lie and how they run; None takes the defaults.
        class_rates: File of class rates, for what is weighted by inverse frequency.

    Returns:
        The component; its models are loaded when it first reads a text.

    Raises:
        ConfigError: the name is unknown (the message suggests the nearest), or the class rates are
            missing or were counted with other weights.
    """
    if name not in _LOADERS:
        raise ConfigError(f"metric {name!r} is unknown{nearest_name(name, COMPONENT_NAMES)}")
    return _LOADERS[name](config or ClinicalConfig(), class_rates)


def component_models(name: str) -> tuple[ClinicalModel, ...]:
    """Return the models whose weights decide a component's value.

    Args:
        name: One of `COMPONENT_NAMES`.

    Returns:
        The models; none for what works by rules.
    """
    return TABLE[name].models


def is_judged(name: str) -> bool:
    """Say whether a language model judges for a component, one of `COMPONENT_NAMES`."""
    return TABLE[name].judge is not None


def needs_class_rates(names: Iterable[str]) -> bool:
    """Say whether one of some components is weighted by class rates; unknown names are not."""
    return any(name in TABLE and TABLE[name].needs_class_rates for name in names)


def require_trainable(name: str) -> None:
    """Refuse what is no component, can be earned wrongly, or is no reward at all.

    Args:
        name: A key of `reward.weights`.

    Raises:
        ConfigError: the name is unknown, or the table says why it is not to be trained on.
    """
    metric = TABLE.get(name)
    if metric is None:
        raise ConfigError(
            f"reward.weights: component {name!r} is unknown{nearest_name(name, TRAINABLE_NAMES)}"
        )
    if metric.refusal is not None:
        hint = "" if metric.load is not None else nearest_name(name, TRAINABLE_NAMES)
        raise ConfigError(f"reward.weights: {name} {metric.refusal}{hint}")
