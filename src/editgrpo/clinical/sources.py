"""Where the weights of a clinical model lie or come from, given a configuration."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from editgrpo.clinical.catalogue import CATALOGUE, ClinicalModel, Entry
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError

MODELS_VARIABLE = "EDITGRPO_MODELS"
_DEFAULT_FOLDER = "~/.cache/editgrpo/models"
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")

_HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One model of one configuration."""

    model: ClinicalModel
    entry: Entry
    folder: Path
    """Where its files are, or will be."""

    is_own: bool = False
    """Whether the user gave the folder; then nothing is ever downloaded into it."""


def models_folder(config: ClinicalConfig) -> Path:
    """Return the folder that holds one sub-folder a model; it need not exist."""
    chosen = config.models or os.environ.get(MODELS_VARIABLE) or _DEFAULT_FOLDER
    return Path(chosen).expanduser()


def models_here(
    models: Iterable[ClinicalModel], config: ClinicalConfig
) -> tuple[ClinicalModel, ...]:
    """Return those of some models that run in this process, each once: GREEN may be on a server."""
    is_served = config.green_endpoint is not None
    return tuple(
        model for model in dict.fromkeys(models) if not (is_served and model is ClinicalModel.GREEN)
    )


def is_offline(config: ClinicalConfig) -> bool:
    """Say whether downloads are off, by the configuration or the environment."""
    values = (os.environ.get(name, "") for name in _OFFLINE_VARIABLES)
    return config.offline or any(value.upper() in ("1", "ON", "YES", "TRUE") for value in values)


def find_source(model: ClinicalModel, config: ClinicalConfig) -> Source:
    """Say where a model lies, and where its files come from if they are missing.

    Args:
        model: The model.
        config: Folder of the models and other sources than the pinned ones.

    Returns:
        The pinned source, or the one that `config.sources` names: a folder that exists, else a
        Hub id that takes the place of the entry's first repository.

    Raises:
        ConfigError: `config.sources` names an unknown model, or neither a folder nor a Hub id.
    """
    for name in config.sources:
        model_named(name)
    entry, models = CATALOGUE[model], models_folder(config)
    chosen = config.sources.get(model.value)
    if chosen is None:
        return Source(model=model, entry=entry, folder=models / model.value)
    own = Path(chosen).expanduser()
    if own.is_dir():
        return Source(model=model, entry=entry, folder=own, is_own=True)
    found = _HUB_ID.fullmatch(chosen)
    if found is None or chosen.startswith("."):
        raise ConfigError(
            f"source of {model} is {chosen!r}, which is neither a folder nor a Hub id; give an "
            "existing folder, or organisation/name@commit"
        )
    repository, revision = found["repository"], found["revision"]
    first = replace(entry.parts[0], repository=repository, revision=revision)
    # A folder of its own, so that it never stands in for the pinned model.
    name = f"{model.value}@{repository}@{revision or 'main'}".replace("/", "--")
    return Source(
        model=model,
        entry=replace(entry, parts=(first, *entry.parts[1:]), sha256={}),
        folder=models / name,
    )


def model_named(name: str) -> ClinicalModel:
    """Return the model of a name.

    Args:
        name: As in `editgrpo models list`.

    Returns:
        The model.

    Raises:
        ConfigError: there is no such model; the message lists them.
    """
    try:
        return ClinicalModel(name)
    except ValueError:
        raise ConfigError(
            f"there is no clinical model {name!r}; it must be one of {', '.join(ClinicalModel)}"
        ) from None
