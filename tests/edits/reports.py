"""Small reports for the edit tests: findings are axes, so every cosine is known by hand."""

from collections.abc import Sequence

import numpy as np

from editgrpo.reports.types import AnnotatedReport, AnnotatedSentence, Entity, EntityType

PRESENT, ABSENT = EntityType.ABNORMALITY, EntityType.NON_ABNORMALITY
DISEASE, NO_DISEASE = EntityType.DISEASE, EntityType.NON_DISEASE
ANATOMY = EntityType.ANATOMY


def entity(vector: Sequence[float], kind: EntityType = PRESENT, text: str = "finding") -> Entity:
    """Make an entity with the given embedding."""
    return Entity(text=text, type=kind, embedding=np.array(vector, dtype=np.float32))


def finding(axis: int, kind: EntityType = PRESENT) -> Entity:
    """Make an entity whose cosine with itself is 1 and with other axes 0."""
    return entity([3.0 if index == axis else 0.0 for index in range(6)], kind, f"axis {axis}")


def sentence(text: str, *entities: Entity) -> AnnotatedSentence:
    """Make a sentence."""
    return AnnotatedSentence(text=text, entities=entities)


def report(*sentences: AnnotatedSentence) -> AnnotatedReport:
    """Make a report."""
    return AnnotatedReport(sentences=sentences)
