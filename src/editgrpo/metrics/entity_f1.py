"""Overlap of the entities of two reports, in the manner of RadGraph-F1 "partial".

The metric works on sets of items, whoever found them. `report_items` makes them from an annotated
report; an annotator with real relations brings its own items.
"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from editgrpo.metrics.component import PairwiseComponent
from editgrpo.reports.types import AnnotatedReport, Annotator, EntityType

_TOKEN = re.compile(r"[^\W_]+")
_ANATOMY_LABEL = "anatomy"


@dataclass(frozen=True, slots=True)
class EntityItem:
    """What must be equal for two mentions to be the same.

    Attributes:
        tokens: The words of the mention, normalised by whoever builds the item.
        label: What the annotator says of it: a presence, or anatomy.
        has_relation: Whether the mention is tied to another entity.
    """

    tokens: tuple[str, ...]
    label: str
    has_relation: bool


def normalised_tokens(text: str) -> tuple[str, ...]:
    """Return the lower-case alphanumeric runs of a text; hyphens and punctuation separate words."""
    return tuple(_TOKEN.findall(text.lower()))


def report_items(report: AnnotatedReport) -> frozenset[EntityItem]:
    """Reduce an annotated report to its set of items.

    A finding has a relation when an ANATOMY entity stands in the same sentence: the annotators of
    this form find no relations, and "located at" is by far the most frequent one of RadGraph. An
    ANATOMY entity starts no relation.

    Args:
        report: Sentences with entities of any annotator.

    Returns:
        Each distinct item once, so that a repeated sentence adds nothing.
    """
    items = set()
    for sentence in report.sentences:
        has_anatomy = any(entity.type is EntityType.ANATOMY for entity in sentence.entities)
        for entity in sentence.entities:
            presence = entity.type.presence
            items.add(
                EntityItem(
                    tokens=normalised_tokens(entity.text),
                    label=_ANATOMY_LABEL if presence is None else presence.value,
                    has_relation=has_anatomy and presence is not None,
                )
            )
    return frozenset(items)


def entity_f1(candidate: frozenset[Hashable], reference: frozenset[Hashable]) -> float:
    """Compute the F1 of two sets of items.

    Args:
        candidate: Items of the generated report.
        reference: Items of the reference report.

    Returns:
        2 |both| / (|candidate| + |reference|) in [0, 1]; 0 if either set is empty.

    Source: RadGraph-F1, reward level "partial" (docs/metrics.md).
    """
    if not candidate or not reference:
        return 0.0
    return 2 * len(candidate & reference) / (len(candidate) + len(reference))


class EntityF1(PairwiseComponent[frozenset[EntityItem]]):
    """Entity F1 with a relation flag.

    Attributes:
        name: `entity_f1/partial@<annotator>`.

    Args:
        annotator: Finds the entities of a text.
    """

    def __init__(self, annotator: Annotator) -> None:
        self.name = f"entity_f1/partial@{annotator.name}"
        self._annotator = annotator

    def read(self, texts: Sequence[str]) -> list[frozenset[EntityItem]]:
        """Return the items of each text."""
        return [report_items(report) for report in self._annotator.annotate(texts)]

    def score(self, candidate: frozenset[EntityItem], reference: frozenset[EntityItem]) -> float:
        """Return the F1 of one pair."""
        return entity_f1(candidate, reference)
