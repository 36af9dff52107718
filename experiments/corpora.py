"""Data sets of the study: a named profile of the phantom, and what is changed in it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from editgrpo.config import DataConfig
from editgrpo.config.check import settings
from editgrpo.data.prepared.store import PREPARED_FILE
from editgrpo.demo.places import PROMPT
from editgrpo.demo.sites import (
    DEMO_PROFILES,
    EYES,
    INPATIENTS_A,
    INPATIENTS_B,
    OUTPATIENTS_A,
)
from editgrpo.errors import ConfigError, nearest_name
from editgrpo.ownership import owning
from editgrpo.phantom import PROFILES, Site, SiteProfile, write_phantom
from editgrpo.phantom.findings import Kind

NAMED_PROFILES: Mapping[str, SiteProfile] = {
    "site-a": PROFILES[Site.A],
    "site-b": PROFILES[Site.B],
    "demo-a": DEMO_PROFILES[Site.A],
    "demo-b": DEMO_PROFILES[Site.B],
    "eyes": EYES,
    "a-outpatients": OUTPATIENTS_A,
    "a-inpatients": INPATIENTS_A,
    "b-inpatients": INPATIENTS_B,
}
"""Profiles that a corpus may start from."""

# As in the base model's training: every finding in a fifth of the studies, of every patient.
_BALANCED = 0.2
# The demo's: two views of the study and two of the prior one.
_MAX_IMAGES = 4


@settings()
class Corpus:
    """A data set of phantom studies."""

    profile: str
    """Where it starts from, one of `NAMED_PROFILES`."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What is different: fields of the profile by name, nested ones as nested mappings; a mapping
    (prevalence, normal_shares) keeps the keys that are not named."""
    studies: int = 1000
    """How many, prior studies included."""
    seed: int = 0
    """Decides patients, films and words."""
    shares: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Shares of train, validation and test."""

    def site(self) -> SiteProfile:
        """Return the profile with its changes.

        Returns:
            The site that the studies are drawn from.

        Raises:
            ConfigError: there is no such profile or field, or a value does not fit.
        """
        if self.profile not in NAMED_PROFILES:
            hint = nearest_name(self.profile, tuple(NAMED_PROFILES))
            raise ConfigError(f"profile {self.profile!r} is unknown{hint}")
        changed: SiteProfile = with_changes(
            NAMED_PROFILES[self.profile], self.changes, f"profile {self.profile}"
        )
        return changed

    def balanced(self, *, studies: int, seed: int, shares: tuple[float, float, float]) -> "Corpus":
        """Return a corpus of the same films and words in which every finding is frequent.

        Args:
            studies: How many.
            seed: Decides them.
            shares: Of train, validation and test.

        Returns:
            The corpus; each finding is in a fifth of its studies, and any patient can have it.
        """
        even = dict.fromkeys((kind.value for kind in Kind), _BALANCED)
        changes = {**self.changes, "prevalence": even, "burdened_share": 1.0}
        return replace(self, changes=changes, studies=studies, seed=seed, shares=shares)

    def drawn_again(self, seed: int) -> "Corpus":
        """Return the same site with other patients, films and words for each seed of a run."""
        # Corpora of a stage have seeds of their own; this keeps those of two runs apart.
        return replace(self, seed=self.seed + 100_003 * seed)

    def folder_name(self) -> str:
        """Return a name that equal corpora share and others do not."""
        facts = [str(self.site()), self.studies, self.seed, self.shares]
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return f"{self.profile}-{self.studies}-{digest[:12]}"


def with_changes(value: Any, changes: Mapping[str, Any], place: str) -> Any:
    """Return a dataclass with some fields changed, as a YAML file names them.

    Args:
        value: The dataclass; fields hold numbers, text, tuples, mappings and dataclasses.
        changes: Field name to new value, in the types that YAML has.
        place: Names the value in messages.

    Returns:
        The changed dataclass; its own checks have run.

    Raises:
        ConfigError: a field or a key is unknown, or a value has another type.
    """
    known = [one.name for one in fields(value)]
    hints = get_type_hints(type(value))
    found = {}
    for name, item in changes.items():
        if name not in known:
            raise ConfigError(f"{place}: unknown field {name!r}{nearest_name(str(name), known)}")
        found[name] = _changed(getattr(value, name), item, hints[name], f"{place}, {name}")
    return replace(value, **found)


def _changed(old: Any, new: Any, hint: Any, place: str) -> Any:
    """Return a field's new value in the type of its old one."""
    if is_dataclass(old) or isinstance(old, Mapping):
        if not isinstance(new, Mapping):
            raise ConfigError(f"{place} is {new!r}; it must be a mapping of what changes")
        if is_dataclass(old):
            return with_changes(old, new, place)
        kind = get_args(hint)[0]
        return {
            **old,
            **{_key(kind, key, place): _number(item, place) for key, item in new.items()},
        }
    if isinstance(old, tuple):
        if not isinstance(new, list | tuple) or len(new) != len(old):
            raise ConfigError(f"{place} is {new!r}; it must be a list of {len(old)}")
        return tuple(_changed(one, item, None, place) for one, item in zip(old, new, strict=True))
    if isinstance(old, Enum):
        return _key(type(old), new, place)
    if isinstance(old, float):
        return _number(new, place)
    if type(new) is not type(old):
        raise ConfigError(f"{place} is {new!r}; it must be {type(old).__name__}, as {old!r} is")
    return new


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{place} is {value!r}; it must be a number")
    return float(value)


def _key(kind: type[Enum], name: Any, place: str) -> Enum:
    names = [str(member.value) for member in kind]
    if name not in names:
        raise ConfigError(f"{place}: {name!r} is unknown{nearest_name(str(name), names)}")
    return kind(name)


def write_corpus(
    corpus: Corpus, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write a corpus below a folder unless it lies there already.

    Args:
        corpus: What to draw.
        folder: Where corpora are kept, each under its own name; processes may share it.
        progress: Called with studies written and in all.

    Returns:
        The corpus's folder.

    Raises:
        ConfigError: the profile does not exist, or another process writes this corpus.
    """
    place = folder / corpus.folder_name()
    if not (place / PREPARED_FILE).is_file():
        with owning(folder / f"{place.name}.corpus"):
            write_phantom(
                place,
                studies=corpus.studies,
                site=corpus.site(),
                seed=corpus.seed,
                split_shares=corpus.shares,
                workers=1,
                progress=progress,
            )
    return place


def shown_data(folder: Path, *, limit: int | None = None) -> DataConfig:
    """Return how a corpus is shown to a model: the demo's prompt.

    Args:
        folder: Of the corpus.
        limit: Most studies for validation or for reports; None takes all.

    Returns:
        The data settings.
    """
    return DataConfig(
        folder=str(folder),
        max_images=_MAX_IMAGES,
        prompt_template=str(PROMPT),
        validation_limit=limit,
    )
