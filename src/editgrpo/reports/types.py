"""A report as data: sentences, the clinical entities they carry, and what those say of presence.

Only values live here. What fills them stands beside: `rules.py` (offline) and, behind the same
protocols, the clinical models. The names and keyword arguments of this module are a stable public
interface.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Presence(StrEnum):
    """What an entity says about the patient."""

    PRESENT = "present"
    ABSENT = "absent"
    UNCERTAIN = "uncertain"
    """Only RadGraph says so; RaTE-NER and `rules` know two."""


class EntityType(StrEnum):
    """Entity types of RaTE-NER (RaTEScore, EMNLP 2024), as used by EditGRPO's edit rules."""

    ANATOMY = "ANATOMY"
    ABNORMALITY = "ABNORMALITY"
    NON_ABNORMALITY = "NON-ABNORMALITY"
    DISEASE = "DISEASE"
    NON_DISEASE = "NON-DISEASE"

    @property
    def presence(self) -> Presence | None:
        """The presence that this type asserts; None for ANATOMY, which asserts none."""
        return _PRESENCE_OF_TYPE[self]


_PRESENCE_OF_TYPE: dict[EntityType, Presence | None] = {
    EntityType.ANATOMY: None,
    EntityType.ABNORMALITY: Presence.PRESENT,
    EntityType.DISEASE: Presence.PRESENT,
    EntityType.NON_ABNORMALITY: Presence.ABSENT,
    EntityType.NON_DISEASE: Presence.ABSENT,
}


class RadGraphLabel(str):
    """A label of a RadGraph checkpoint, such as `Observation::definitely absent`.

    The checkpoint's vocabulary decides which there are.
    """

    __slots__ = ()

    @property
    def presence(self) -> Presence | None:
        """The presence that this label asserts; None for anatomy, which asserts none."""
        kind, *_, certainty = self.split("::")
        return None if kind == "Anatomy" else _PRESENCE_OF_CERTAINTY[certainty]


_PRESENCE_OF_CERTAINTY = {
    "definitely present": Presence.PRESENT,
    "definitely absent": Presence.ABSENT,
    "uncertain": Presence.UNCERTAIN,
}


@dataclass(frozen=True, slots=True)
class Entity:
    """One clinical mention.

    Attributes:
        text: The mention as it stands in the sentence.
        type: Its type by the annotator; `type.presence` is its presence label.
        embedding: (D,) float32 of any norm; D is free, but the same within a comparison. None where
            the annotator has none: two mentions are then alike if their words are equal.
    """

    text: str
    type: EntityType | RadGraphLabel
    # Arrays have no truth value, so they take no part in equality; text and type name a mention.
    embedding: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AnnotatedSentence:
    """A sentence and the entities found in it, in reading order.

    Attributes:
        text: The sentence.
        entities: What was found.
        section: The section that it stands in, where a report has several; else empty. An edit
            takes no sentence from one section into another.
    """

    text: str
    entities: tuple[Entity, ...] = ()
    section: str = ""


@dataclass(frozen=True, slots=True)
class AnnotatedReport:
    """A report as an ordered tuple of annotated sentences."""

    sentences: tuple[AnnotatedSentence, ...] = ()

    @property
    def text(self) -> str:
        """The sentences joined by single spaces; white space between sentences is not part of a
        report's meaning.

        Where they name sections, each section is a line behind its heading.
        """
        of_section: dict[str, list[str]] = {}
        for sentence in self.sentences:
            of_section.setdefault(sentence.section, []).append(sentence.text)
        return "\n".join(
            " ".join([f"{section.upper()}:", *texts] if section else texts)
            for section, texts in of_section.items()
        )

    @property
    def entities(self) -> tuple[Entity, ...]:
        """All entities in reading order."""
        return tuple(entity for sentence in self.sentences for entity in sentence.entities)


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of characters, `start <= position < end`."""

    start: int
    end: int


class Annotator(Protocol):
    """Finds sentences and entities.

    Implementations memoise by sentence and are deterministic.
    """

    name: str

    def split(self, text: str) -> list[Span]:
        """Return the sentences' character ranges in order, without overlap and without surrounding
        white space."""
        ...

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        """Annotate reports; `sentences[i].text` of a report equals its text at `split(text)[i]`."""
        ...


class Labeler(Protocol):
    """Assigns the 14 CheXpert findings, in the order of `editgrpo.reports.chexpert.FINDINGS`."""

    name: str

    def classify(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return (N, 14) uint8 with CheXbert's classes: 0 blank, 1 positive, 2 negative, 3
        uncertain."""
        ...

    def label(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return (N, 14) uint8, 1 where `classify` is positive or uncertain, else 0 (CheXbert's own
        merge)."""
        ...
