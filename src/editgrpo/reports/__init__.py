"""Reports as data, and the annotators and labelers that fill them."""

from editgrpo.reports.registry import load_annotator, load_labeler
from editgrpo.reports.types import (
    AnnotatedReport,
    AnnotatedSentence,
    Annotator,
    Entity,
    EntityType,
    Labeler,
    Presence,
    RadGraphLabel,
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
    "RadGraphLabel",
    "Span",
    "load_annotator",
    "load_labeler",
]
