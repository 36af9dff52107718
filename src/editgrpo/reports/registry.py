"""Annotators and labelers by name; the modules behind the names are imported on first use."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, cast

from editgrpo.errors import ConfigError
from editgrpo.reports.types import Annotator, Labeler

_ANNOTATORS: Mapping[str, str] = {"rules": "editgrpo.reports.rules:RulesAnnotator"}
_LABELERS: Mapping[str, str] = {"rules": "editgrpo.reports.rules:RulesLabeler"}


def load_annotator(name: str) -> Annotator:
    """Return the annotator of a name.

    Args:
        name: `rules`.

    Returns:
        The annotator.

    Raises:
        ConfigError: no annotator has this name (the message suggests the nearest).
    """
    return cast(Annotator, _load(_ANNOTATORS, "annotator", name))


def load_labeler(name: str) -> Labeler:
    """Return the labeler of a name.

    Args:
        name: `rules`.

    Returns:
        The labeler.

    Raises:
        ConfigError: no labeler has this name (the message suggests the nearest).
    """
    return cast(Labeler, _load(_LABELERS, "labeler", name))


def _load(registry: Mapping[str, str], what: str, name: str) -> Any:
    if name not in registry:
        near = get_close_matches(name, registry, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(registry))}"
        raise ConfigError(f"there is no {what} named {name!r}; {hint}")
    module, _, attribute = registry[name].partition(":")
    return getattr(import_module(module), attribute)()
