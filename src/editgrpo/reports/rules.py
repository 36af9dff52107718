"""The offline annotator and labeler `rules`: ontology, context and location put together.

No model, no network, no randomness. A sentence is read on its own, so what is known of it is kept
and shared by all reports that hold it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from editgrpo.reports.chexpert import FINDINGS, NO_FINDING_INDEX, LabelClass
from editgrpo.reports.context import Status, assess
from editgrpo.reports.embeddings import embed
from editgrpo.reports.location import Location, Side, locate, read_location
from editgrpo.reports.mentions import Match, find_mentions
from editgrpo.reports.ontology import Concept, Kind, load_ontology
from editgrpo.reports.sentences import split_sentences
from editgrpo.reports.tokens import Token, tokenize
from editgrpo.reports.types import (
    AnnotatedReport,
    AnnotatedSentence,
    Entity,
    EntityType,
    Span,
)

# Sentences remembered. IU X-Ray has about 14,000 different ones; an entry takes about 1 kB.
_MEMO = 32_768

_TYPES = {
    (Kind.ABNORMALITY, True): EntityType.ABNORMALITY,
    (Kind.ABNORMALITY, False): EntityType.NON_ABNORMALITY,
    (Kind.SYSTEM, True): EntityType.ABNORMALITY,
    (Kind.SYSTEM, False): EntityType.NON_ABNORMALITY,
    (Kind.DISEASE, True): EntityType.DISEASE,
    (Kind.DISEASE, False): EntityType.NON_DISEASE,
    (Kind.ANATOMY, True): EntityType.ANATOMY,
}


@dataclass(frozen=True, slots=True)
class Mention:
    """A concept mentioned in a sentence.

    Attributes:
        text: As it stands in the sentence.
        concept: What is mentioned.
        location: Its side and height.
        status: What the sentence asserts of it; PRESENT for anatomy.
    """

    text: str
    concept: Concept
    location: Location
    status: Status


class RulesAnnotator:
    """Finds sentences and entities by the packaged ontology; see docs/annotators.md."""

    name = "rules"

    def split(self, text: str) -> list[Span]:
        """Return the sentences' character ranges in order, without overlap and without surrounding
        white space."""
        return split_sentences(text)

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        """Annotate reports.

        Args:
            texts: N reports; an empty one has no sentence.

        Returns:
            N annotated reports. Equal sentences are the same object.
        """
        return [
            AnnotatedReport(
                tuple(_annotate_sentence(text[s.start : s.end]) for s in split_sentences(text))
            )
            for text in texts
        ]


class RulesLabeler:
    """Assigns the 14 CheXpert findings by the packaged ontology; see docs/annotators.md."""

    name = "rules"

    def classify(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return (N, 14) uint8 with CheXbert's classes: 0 blank, 1 positive, 2 negative, 3
        uncertain.

        A finding's class is the strongest of its mentions, in the order positive, uncertain,
        negative. No Finding is 1 unless an abnormality is positive or uncertain, support devices
        aside; the report of no words has it too, as with CheXpert's labeler.
        """
        rows = [_label_report(text) for text in texts]
        return np.array(rows, dtype=np.uint8).reshape(len(texts), len(FINDINGS))

    def label(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return (N, 14) uint8, 1 where `classify` is positive or uncertain, else 0 (CheXbert's own
        merge)."""
        classes = self.classify(texts)
        present = (classes == LabelClass.POSITIVE) | (classes == LabelClass.UNCERTAIN)
        merged: NDArray[np.uint8] = present.astype(np.uint8)
        return merged


@dataclass(frozen=True, slots=True)
class _SentenceLabel:
    classes: tuple[tuple[int, LabelClass], ...]
    vetoes_no_finding: bool


# Strength of each class when mentions of one finding differ.
_STRENGTH = {
    LabelClass.BLANK: 0,
    LabelClass.NEGATIVE: 1,
    LabelClass.UNCERTAIN: 2,
    LabelClass.POSITIVE: 3,
}


def _stronger(first: LabelClass, second: LabelClass) -> LabelClass:
    return first if _STRENGTH[first] >= _STRENGTH[second] else second


def _label_report(text: str) -> list[LabelClass]:
    """Return the classes of the 14 findings, the strongest of their sentences."""
    row = [LabelClass.BLANK] * len(FINDINGS)
    normal = True
    for span in split_sentences(text):
        label = _label_sentence(text[span.start : span.end])
        normal &= not label.vetoes_no_finding
        for finding, found in label.classes:
            row[finding] = _stronger(row[finding], found)
    if normal:
        row[NO_FINDING_INDEX] = LabelClass.POSITIVE
    return row


@lru_cache(maxsize=_MEMO)
def _annotate_sentence(text: str) -> AnnotatedSentence:
    entities = []
    for mention in read_mentions(text):
        kind, asserted = mention.concept.kind, mention.status is not Status.ABSENT
        embedding = embed(mention.concept, mention.location)
        entities.append(Entity(mention.text, _TYPES[kind, asserted], embedding))
    return AnnotatedSentence(text, tuple(entities))


@lru_cache(maxsize=_MEMO)
def _label_sentence(text: str) -> _SentenceLabel:
    mentions = [
        mention for mention in read_mentions(text) if mention.concept.kind is not Kind.ANATOMY
    ]
    found: dict[int, LabelClass] = {}
    for mention in mentions:
        label = _label_class(mention)
        for finding in mention.concept.classes:
            found[finding] = _stronger(found.get(finding, LabelClass.BLANK), label)
    return _SentenceLabel(
        classes=tuple(found.items()),
        vetoes_no_finding=any(
            mention.concept.veto and mention.status is not Status.ABSENT for mention in mentions
        ),
    )


def _label_class(mention: Mention) -> LabelClass:
    if mention.status is Status.ABSENT:
        return LabelClass.NEGATIVE
    if mention.status is Status.UNCERTAIN or mention.concept.hedged:
        return LabelClass.UNCERTAIN
    return LabelClass.POSITIVE


@lru_cache(maxsize=_MEMO)
def read_mentions(sentence: str) -> tuple[Mention, ...]:
    """Read everything that a sentence asserts.

    Args:
        sentence: One sentence.

    Returns:
        Its mentions in reading order: findings, statements on whole organ systems, and anatomy that
        is not part of one of those. Mentions of history or indication are left out.
    """
    ontology = load_ontology()
    tokens = tokenize(sentence)
    findings = find_mentions(tokens, ontology)
    statuses = assess(tokens, findings, ontology)
    taken = {position for match in findings for position in range(match.start, match.end)}
    placed = [
        (
            match.start,
            _mention(sentence, tokens, match, status, _location(tokens, findings, number)),
        )
        for number, (match, status) in enumerate(zip(findings, statuses, strict=True))
        if status is not Status.UNASSERTED
    ]
    for start, end, sense in ontology.anatomy.matches(tokens):
        if taken.isdisjoint(range(start, end)):
            location = read_location(tokens[max(0, start - 1) : end])
            match = Match(start, end, sense)
            placed.append((start, _mention(sentence, tokens, match, Status.PRESENT, location)))
    return tuple(mention for _, mention in sorted(placed, key=lambda item: item[0]))


def _location(tokens: tuple[Token, ...], matches: list[Match], number: int) -> Location:
    before = matches[number - 1].end if number else 0
    after = matches[number + 1].start if number + 1 < len(matches) else len(tokens)
    match = matches[number]
    location = locate(tokens, match.start, match.end, before=before, after=after)
    if match.sense.concept.kind is Kind.SYSTEM and location.side is Side.BOTH:
        # "Both lungs are clear" is "the lungs are clear".
        return Location(zone=location.zone)
    return location


def _mention(
    sentence: str, tokens: tuple[Token, ...], match: Match, status: Status, location: Location
) -> Mention:
    text = sentence[tokens[match.start].start : tokens[match.end - 1].end]
    return Mention(text, match.sense.concept, location, status)
