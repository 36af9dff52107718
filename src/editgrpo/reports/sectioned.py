"""Annotating reports of findings and impression: section by section, without the headings."""

from collections.abc import Sequence
from dataclasses import replace

from editgrpo.config import Target
from editgrpo.reports.headings import read_passages
from editgrpo.reports.types import AnnotatedReport, Annotator, Span


def annotator_of_target(annotator: Annotator, target: Target) -> Annotator:
    """Return what reads reports of a target: of both sections one by one, else the annotator."""
    return SectionedAnnotator(annotator) if target is Target.BOTH else annotator


class SectionedAnnotator:
    """Lets an annotator read what is under each heading; every sentence knows its section.

    Attributes:
        name: The annotator's.

    Args:
        annotator: Reads one section as it reads a report.
    """

    def __init__(self, annotator: Annotator) -> None:
        self.name = annotator.name
        self._annotator = annotator

    def split(self, text: str) -> list[Span]:
        """Return the sentences' character ranges in order; headings belong to none."""
        return [
            Span(one.body.start + span.start, one.body.start + span.end)
            for one in read_passages(text)
            for span in self._annotator.split(text[one.body.start : one.body.end])
        ]

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        """Annotate reports.

        Args:
            texts: N reports, see `read_passages`.

        Returns:
            N annotated reports; `section` of a sentence is that of its passage.
        """
        passages = [read_passages(text) for text in texts]
        bodies = [
            text[one.body.start : one.body.end]
            for text, parts in zip(texts, passages, strict=True)
            for one in parts
        ]
        read = iter(self._annotator.annotate(bodies))
        return [
            AnnotatedReport(
                tuple(
                    replace(sentence, section=one.section.value)
                    for one in parts
                    for sentence in next(read).sentences
                )
            )
            for parts in passages
        ]
