"""Annotators and labelers by name; the modules behind the names are imported on first use."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.clinical.shared import clinical_key, shared
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError, nearest_name
from editgrpo.extras import Extra, require_extras
from editgrpo.reports.types import Annotator, Labeler


def _maker(path: str, *, has_models: bool = True) -> Callable[[ClinicalConfig], Any]:
    """Return what makes an object of a class; one with models takes their configuration."""
    module, _, name = path.partition(":")

    def make(config: ClinicalConfig) -> Any:
        if not has_models:
            return getattr(import_module(module), name)()
        require_extras(Extra.CLINICAL, what=name)
        return getattr(import_module(module), name)(config)

    return make


_ANNOTATORS: Mapping[str, Callable[[ClinicalConfig], Any]] = {
    "rules": _maker("editgrpo.reports.rules:RulesAnnotator", has_models=False),
    "rate": _maker("editgrpo.reports.rate.annotator:RateAnnotator"),
    "radgraph": _maker("editgrpo.reports.radgraph.annotator:RadGraphAnnotator"),
}
_LABELERS: Mapping[str, Callable[[ClinicalConfig], Any]] = {
    "rules": _maker("editgrpo.reports.rules:RulesLabeler", has_models=False),
    "chexbert": _maker("editgrpo.reports.chexbert_model:CheXbertLabeler"),
}

_MODELS: Mapping[str, tuple[ClinicalModel, ...]] = {
    "rules": (),
    "rate": (ClinicalModel.RATE_NER, ClinicalModel.BIOLORD),
    "radgraph": (ClinicalModel.RADGRAPH_XL,),
}

ANNOTATOR_NAMES: tuple[str, ...] = tuple(_ANNOTATORS)


def load_annotator(name: str, config: ClinicalConfig | None = None) -> Annotator:
    """Return the annotator of a name; equal requests share one object and its memory.

    Args:
        name: One of `ANNOTATOR_NAMES`.
        config: Where its models lie and how they run; None takes the defaults.

    Returns:
        The annotator; its models are loaded when it first reads a text.

    Raises:
        ConfigError: no annotator has this name (the message suggests the nearest).
        MissingExtraError: what runs its models is not installed.
    """
    return cast(Annotator, _load(_ANNOTATORS, "annotator", name, config))


def load_labeler(name: str, config: ClinicalConfig | None = None) -> Labeler:
    """Return the labeler of a name; equal requests share one object and its memory.

    Args:
        name: `rules` or `chexbert`.
        config: Where its model lies and how it runs; None takes the defaults.

    Returns:
        The labeler; its model is loaded when it first reads a text.

    Raises:
        ConfigError: no labeler has this name (the message suggests the nearest).
        MissingExtraError: what runs its models is not installed.
    """
    return cast(Labeler, _load(_LABELERS, "labeler", name, config))


def _load(
    registry: Mapping[str, Callable[[ClinicalConfig], Any]],
    what: str,
    name: str,
    config: ClinicalConfig | None,
) -> Any:
    if name not in registry:
        raise ConfigError(f"{what} {name!r} is unknown{nearest_name(name, tuple(registry))}")
    chosen = config or ClinicalConfig()
    return shared((what, name, clinical_key(chosen)), lambda: registry[name](chosen))


def annotator_models(name: str) -> tuple[ClinicalModel, ...]:
    """Return the models whose weights decide what an annotator finds; none for `rules`.

    Args:
        name: One of `ANNOTATOR_NAMES`.

    Returns:
        The models.

    Raises:
        ConfigError: no annotator has this name (the message suggests the nearest).
    """
    if name not in _MODELS:
        raise ConfigError(f"annotator {name!r} is unknown{nearest_name(name, ANNOTATOR_NAMES)}")
    return _MODELS[name]
