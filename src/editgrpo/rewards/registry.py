"""Rewards by name.

Nothing is loaded before it is asked for, so that importing this costs nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from editgrpo.clinical.memo import Memo
from editgrpo.errors import ConfigError
from editgrpo.reports import (
    AnnotatedReport,
    Annotator,
    Labeler,
    Span,
    load_annotator,
    load_labeler,
)
from editgrpo.rewards.composite import Component, CompositeReward
from editgrpo.rewards.entity_f1 import EntityF1
from editgrpo.rewards.entity_similarity import EntitySimilarity
from editgrpo.rewards.label_f1 import LabelF1
from editgrpo.rewards.stated import StatedLabeler
from editgrpo.rewards.types import Reward


class _SharedAnnotator:
    """An annotator whose reports are remembered, so that two components annotate a text once."""

    def __init__(self, annotator: Annotator) -> None:
        self.name = annotator.name
        self.split: Callable[[str], list[Span]] = annotator.split
        self._reports: Memo[AnnotatedReport] = Memo(annotator.annotate)

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        """Annotate reports, each distinct text once."""
        return self._reports(texts)


def _rules_components() -> tuple[Component[Any], ...]:
    """Load the offline components: no network, no model weights."""
    annotator = _SharedAnnotator(load_annotator("rules"))
    labeler = StatedLabeler(load_labeler("rules"), annotator)
    return LabelF1(labeler), EntityF1(annotator), EntitySimilarity(annotator)


def _rules_labeler() -> Labeler:
    """Load the labeler of the offline components."""
    return StatedLabeler(load_labeler("rules"), _SharedAnnotator(load_annotator("rules")))


_COMPONENTS: dict[str, Callable[[], tuple[Component[Any], ...]]] = {"rules": _rules_components}
_LABELERS: dict[str, Callable[[], Labeler]] = {"rules": _rules_labeler}

REWARD_NAMES: tuple[str, ...] = tuple(_COMPONENTS)
"""Names that `load_reward` knows."""


def load_reward(name: str, weights: Mapping[str, float] | None = None) -> Reward:
    """Load a reward.

    Args:
        name: One of `REWARD_NAMES`.
        weights: Component name to weight, finite and 0 or more; a component left out keeps 1.

    Returns:
        A reward with its own bounded memory of texts.

    Raises:
        ConfigError: the name or a component of `weights` is unknown, or a weight is out of range.
    """
    _require_known(name)
    components = _COMPONENTS[name]()
    return CompositeReward(
        name,
        components,
        weights=complete_weights(tuple(part.name for part in components), weights or {}),
    )


def load_reward_labeler(name: str) -> Labeler:
    """Load the labeler behind a reward's label component; corpus F1 uses the same one.

    Args:
        name: One of `REWARD_NAMES`.

    Returns:
        The labeler.

    Raises:
        ConfigError: the name is unknown.
    """
    _require_known(name)
    return _LABELERS[name]()


def complete_weights(
    component_names: Sequence[str], weights: Mapping[str, float]
) -> dict[str, float]:
    """Give every component its weight.

    Args:
        component_names: All components of a reward.
        weights: The weights that differ from 1.

    Returns:
        Component name to weight, in the order of `component_names`.

    Raises:
        ConfigError: a name is unknown, or a weight is negative, NaN or infinite.
    """
    for component, weight in weights.items():
        if component not in component_names:
            raise ConfigError(
                f"reward.weights: component {component!r} is unknown"
                f"{_nearest(component, component_names)}"
            )
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(
                f"reward.weights: {component} is {weight}; it must be finite and 0 or more"
            )
    return {component: float(weights.get(component, 1.0)) for component in component_names}


def _require_known(name: str) -> None:
    """Raise ConfigError for a reward that is not in the registry."""
    if name not in _COMPONENTS:
        raise ConfigError(f"reward {name!r} is unknown{_nearest(name, REWARD_NAMES)}")


def _nearest(name: str, known: Sequence[str]) -> str:
    """End an error message with the nearest known name, or with all of them."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; choose one of {', '.join(known)}"
