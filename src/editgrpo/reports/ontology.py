"""The knowledge of the annotator `rules`: `ontology.yaml`, read once, checked and compiled.

Findings, anatomy and context cues live in the data file; this module only gives them types. See
docs/annotators.md for how to add a synonym or a finding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import yaml

from editgrpo.errors import ConfigError
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.reports.patterns import Pattern, PatternIndex, compile_pattern, denial_of

T = TypeVar("T")

_SUPPORT_DEVICES = FINDINGS.index("Support Devices")


class Kind(StrEnum):
    """What a concept is; it decides the entity types of its mentions."""

    ABNORMALITY = "abnormality"
    DISEASE = "disease"
    SYSTEM = "system"
    ANATOMY = "anatomy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Concept:
    """A finding, an organ system as a whole, or a piece of anatomy.

    Attributes:
        name: As it stands in the ontology.
        kind: SYSTEM for the statements that deny all findings of an organ system.
        system: The organ system whose findings share part of their embedding.
        classes: Indices into `chexpert.FINDINGS` that a mention labels.
        sided: Whether left and right are different findings.
        hedged: Whether an asserted mention labels its classes uncertain, not positive.
        veto: Whether an asserted mention means that the report is not normal.
    """

    name: str
    kind: Kind
    system: str
    classes: tuple[int, ...] = ()
    sided: bool = True
    hedged: bool = False
    veto: bool = True


_FINDING_TYPES = (Kind.ABNORMALITY.value, Kind.DISEASE.value)


class Cue(Enum):
    """What a context cue does to the mentions in its scope: effect and direction."""

    IGNORED = "ignored"
    NEGATED_BEFORE = "negated before"
    NEGATED_AFTER = "negated after"
    NEGATED_NEXT_TO = "negated next to"
    UNCERTAIN_BEFORE = "uncertain before"
    UNCERTAIN_BEFORE_OR_AFTER = "uncertain before or after"
    UNCERTAIN_BESIDE = "uncertain beside"
    UNCERTAIN_NEXT_TO = "uncertain next to"
    UNCERTAIN_AFTER = "uncertain after"
    UNASSERTED_BEFORE = "unasserted before"
    BOUNDARY = "boundary"


class Value(Enum):
    """What the value of a label says of it, as in "Pneumothorax: none"."""

    ABSENT = "absent"
    UNCERTAIN = "uncertain"
    UNASSERTED = "unasserted"


@dataclass(frozen=True, slots=True)
class Sense:
    """What a matched pattern says: a concept, and whether the wording itself denies it."""

    concept: Concept
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Ontology:
    """The compiled ontology.

    Attributes:
        concepts: All concepts in the order of the file.
        systems: Names of the organ systems.
        findings: Finds mentions of findings and of whole systems.
        anatomy: Finds mentions of anatomy.
        ignored: Finds the phrases that hide the cues within them.
        cues: Finds context cues.
        values: Finds what a value begins with that does not assert its label.
    """

    concepts: tuple[Concept, ...]
    systems: tuple[str, ...]
    findings: PatternIndex[Sense]
    anatomy: PatternIndex[Sense]
    ignored: PatternIndex[Cue]
    cues: PatternIndex[Cue]
    values: PatternIndex[Value]


@cache
def load_ontology() -> Ontology:
    """Read and compile the packaged ontology; the result is kept for the process."""
    text = resources.files("editgrpo.reports").joinpath("ontology.yaml").read_text("utf-8")
    return build_ontology(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def build_ontology(data: Mapping[str, Any]) -> Ontology:
    """Check and compile an ontology.

    Args:
        data: The content of a file in the form of `ontology.yaml`.

    Returns:
        The compiled ontology.

    Raises:
        ConfigError: a pattern does not parse, or a field has an unknown value.
    """
    macros: Mapping[str, str] = data["macros"]
    systems = tuple(data["systems"])
    senses = [*_system_senses(data["systems"]), *_finding_senses(data["findings"], systems)]
    anatomy = [*_anatomy_senses(data["anatomy"])]
    context = data["context"]
    ignored = [(pattern, Cue.IGNORED) for pattern in context[Cue.IGNORED.value]]
    cues = [
        (pattern, Cue(kind))
        for kind, group in context.items()
        if kind != Cue.IGNORED.value
        for pattern in group
    ]
    values = [(pattern, Value(kind)) for kind, group in data["values"].items() for pattern in group]
    return Ontology(
        concepts=tuple(dict.fromkeys(sense.concept for _, sense in (*senses, *anatomy))),
        systems=systems,
        findings=PatternIndex(_compiled(senses, macros)),
        anatomy=PatternIndex(_compiled(anatomy, macros)),
        ignored=PatternIndex(_compiled(ignored, macros)),
        cues=PatternIndex(_compiled(cues, macros)),
        values=PatternIndex(_compiled(values, macros)),
    )


def _compiled(
    entries: list[tuple[str, T]], macros: Mapping[str, str]
) -> Iterator[tuple[Pattern, T]]:
    return ((compile_pattern(pattern, macros), value) for pattern, value in entries)


def _system_senses(systems: Mapping[str, Any]) -> Iterator[tuple[str, Sense]]:
    for name, entry in systems.items():
        classes = tuple(_class_index(name, label) for label in entry["denies"])
        concept = Concept(name=name, kind=Kind.SYSTEM, system=name, classes=classes)
        yield from ((pattern, Sense(concept, denied=True)) for pattern in entry["normal"])
        yield from ((pattern, Sense(concept)) for pattern in entry.get("abnormal", ()))


def _finding_senses(
    findings: Mapping[str, Any], systems: tuple[str, ...]
) -> Iterator[tuple[str, Sense]]:
    for name, entry in findings.items():
        if entry["system"] not in systems:
            raise ConfigError(
                f"ontology finding {name!r}: system {entry['system']!r} is not one of {systems}"
            )
        if entry["type"] not in _FINDING_TYPES:
            raise ConfigError(
                f"ontology finding {name!r}: type {entry['type']!r} is not one of {_FINDING_TYPES}"
            )
        labels = entry.get("chexpert", [])
        classes = tuple(_class_index(name, label) for label in labels)
        concept = Concept(
            name=name,
            kind=Kind(entry["type"]),
            system=entry["system"],
            classes=classes,
            sided=entry["sided"],
            hedged=entry.get("hedged", False),
            veto=entry.get("veto", classes != (_SUPPORT_DEVICES,)),
        )
        yield from ((pattern, Sense(concept)) for pattern in entry["present"])
        denials = [*map(denial_of, entry["present"]), *entry.get("absent", ())]
        yield from ((pattern, Sense(concept, denied=True)) for pattern in denials if pattern)


def _anatomy_senses(anatomy: Mapping[str, list[str]]) -> Iterator[tuple[str, Sense]]:
    for name, patterns in anatomy.items():
        concept = Concept(name=name, kind=Kind.ANATOMY, system="anatomy", veto=False)
        yield from ((pattern, Sense(concept)) for pattern in patterns)


def _class_index(name: str, label: str) -> int:
    if label not in FINDINGS:
        raise ConfigError(f"ontology entry {name!r}: {label!r} is not one of the CheXpert findings")
    return FINDINGS.index(label)
