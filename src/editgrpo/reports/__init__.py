"""Reports as data, and the annotators and labelers that fill them."""

from editgrpo.reports.types import (
    AnnotatedReport,
    AnnotatedSentence,
    Annotator,
    Entity,
    EntityType,
    Labeler,
    Presence,
    Span,
)

__all__ = [
    "AnnotatedReport",
    "AnnotatedSentence",
    "Annotator",
    "Entity",
    "EntityType",
    "Labeler",
    "Presence",
    "Span",
]
