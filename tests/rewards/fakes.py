"""A tiny annotator and labeler with a vocabulary of their own, whose answers are known by hand."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from editgrpo.reports.chexpert import FINDINGS
from editgrpo.reports.types import (
    AnnotatedReport,
    AnnotatedSentence,
    Entity,
    EntityType,
    Span,
)

# Orthogonal directions; "cardiomegaly" and "enlarged heart" have cosine 0.96.
EMBEDDINGS = {
    "effusion": (1, 0, 0, 0, 0),
    "cardiomegaly": (0, 1, 0, 0, 0),
    "enlarged heart": (0, 0.96, 0.28, 0, 0),
    "fracture": (0, 0, 0, 1, 0),
    "rib": (0, 0, 0, 0, 1),
}


def entity(text: str, type_: EntityType) -> Entity:
    """Make an entity of the vocabulary, with an embedding whose norm is not 1."""
    return Entity(text, type_, 3 * np.array(EMBEDDINGS[text.lower()], dtype=np.float32))


def report(*sentences: Sequence[tuple[str, EntityType]]) -> AnnotatedReport:
    """Make a report of sentences given by their entities."""
    return AnnotatedReport(
        tuple(
            AnnotatedSentence("words.", tuple(entity(text, type_) for text, type_ in one))
            for one in sentences
        )
    )


class FakeAnnotator:
    """Finds the words of `EMBEDDINGS`; a sentence with "no" makes its findings absent."""

    name = "fake"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def split(self, text: str) -> list[Span]:
        raise NotImplementedError("rewards never split a text")

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        self.calls.append(list(texts))
        return [AnnotatedReport(tuple(map(_sentence, text.split(".")))) for text in texts]


def _sentence(text: str) -> AnnotatedSentence:
    words = text.lower()
    finding = EntityType.NON_DISEASE if "no " in words else EntityType.DISEASE
    types = {name: EntityType.ANATOMY if name == "rib" else finding for name in EMBEDDINGS}
    found = tuple(entity(name, type_) for name, type_ in types.items() if name in words)
    return AnnotatedSentence(text, found)


class FakeLabeler:
    """Labels findings by name; "clear" is No Finding."""

    name = "fake"

    def classify(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        rows = np.zeros((len(texts), len(FINDINGS)), dtype=np.uint8)
        for row, text in zip(rows, texts, strict=True):
            for sentence in text.lower().split("."):
                for index, finding in enumerate(FINDINGS):
                    if finding.lower().split()[-1] in sentence:
                        row[index] = 2 if "no " in sentence else 1
            if "clear" in text:
                row[-1] = 1
        return rows

    def label(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        classes = self.classify(texts)
        return ((classes == 1) | (classes == 3)).astype(np.uint8)
