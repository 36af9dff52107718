"""An edited report as text: which characters of the rollout stay, and what is put between them.

docs/edit-rules.md states the decisions on white space that are made here. Tokens come in in
`splice.py`.
"""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from editgrpo.edits.edit import Origin, SentenceSource
from editgrpo.errors import EditError
from editgrpo.reports.types import AnnotatedReport, Span

_FINISHED = re.compile(r"(?<!\d\.)(?<=[.!?])[\"'”’)\]]*\Z")
"""Sentence-final punctuation, with quotes or brackets after it; but "5." may be half of "5.2"."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Characters of the rollout that stay, `start <= position < end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class New:
    """Text that the rollout did not hold: an inserted sentence, or a space next to one."""

    text: str
    is_sentence: bool


Part = Kept | New


def complete_spans(spans: Sequence[Span], text: str, *, truncated: bool) -> tuple[Span, ...]:
    """Return the sentences that the rollout finished; only these are edited.

    Args:
        spans: The sentences of `text`, in order.
        text: The decoded rollout.
        truncated: Whether the rollout ran into the length limit.

    Returns:
        All spans of a finished rollout. A truncated rollout loses its last sentence unless that
        ends in `.`, `!` or `?`; a full stop after a digit does not count, as it may be a decimal
        point. Dropping too much is safe, training on half a sentence as if it were whole is not.
    """
    kept = tuple(spans)
    if truncated and kept and not _FINISHED.search(text[kept[-1].start : kept[-1].end]):
        return kept[:-1]
    return kept


def check_spans(spans: Sequence[Span], text: str, sources: Sequence[SentenceSource]) -> None:
    """Refuse spans that do not belong to this text or to this edit.

    Args:
        spans: The sentences of `text`.
        text: The decoded rollout.
        sources: Where the sentences of the edited report come from.

    Raises:
        EditError: the spans overlap, leave the text, or are fewer than the edit refers to; or the
            edit takes the rollout's sentences out of their order.
    """
    bounds = [bound for span in spans for bound in (span.start, span.end)]
    if bounds != sorted(bounds) or any(bound < 0 or bound > len(text) for bound in bounds):
        raise EditError("the sentence spans overlap or leave the text; take them from its decoding")
    positions = [source.position for source in sources if source.origin is Origin.ROLLOUT]
    if positions != sorted(set(positions)) or any(p >= len(spans) for p in positions):
        raise EditError(
            f"the edit takes rollout sentences {positions} but there are {len(spans)} spans; "
            "pass the spans of the report that was edited"
        )


def lay_out(
    text: str,
    *,
    spans: Sequence[Span],
    sources: Sequence[SentenceSource],
    reference: AnnotatedReport,
    truncated: bool,
) -> list[Part]:
    """Write the edited text as pieces of the rollout and new text, in order.

    A sentence of the rollout keeps the white space before it; the first sentence of the edited
    report takes the rollout's leading white space. An inserted sentence takes the white space that
    follows the sentence before it, unless that belongs to one that stays. Where that leaves nothing
    between two sentences that were not neighbours, a single space is put.

    Args:
        text: The decoded rollout.
        spans: Its sentences; for a truncated rollout the complete ones.
        sources: Where the sentences of the edited report come from.
        reference: The report that sentences are inserted from.
        truncated: Whether the rollout ran into the length limit; its edited version then ends
            right after the last sentence.

    Returns:
        The parts; kept parts are non-empty and do not overlap.
    """
    gaps = _gaps(text, spans, truncated=truncated)
    staying = {source.position for source in sources if source.origin is Origin.ROLLOUT}
    parts: list[Part] = []
    previous: SentenceSource | None = None
    for source in sources:
        gap = _gap_before(source, previous, gaps, staying)
        parts.append(gap)
        if _needs_space(text, gap, source, previous):
            parts.append(New(" ", is_sentence=False))
        if source.origin is Origin.ROLLOUT:
            span = spans[source.position]
            parts.append(Kept(span.start, span.end))
        else:
            parts.append(New(reference.sentences[source.position].text, is_sentence=True))
        previous = source
    tail_is_used = gaps[-1] in parts
    if not truncated and not tail_is_used and (sources or not spans):
        parts.append(gaps[-1])
    return [part for part in parts if isinstance(part, New) or part.start < part.end]


def _gaps(text: str, spans: Sequence[Span], *, truncated: bool) -> list[Kept]:
    """Return what comes before each sentence and, last, what comes after all of them."""
    starts = [0, *(span.end for span in spans)]
    ends = [*(span.start for span in spans), len(text)]
    if truncated:  # after the last sentence stands, behind its white space, an unfinished one
        rest = text[starts[-1] :]
        ends[-1] = starts[-1] + len(rest) - len(rest.lstrip())
    return [Kept(start, end) for start, end in zip(starts, ends, strict=True)]


def _gap_before(
    source: SentenceSource,
    previous: SentenceSource | None,
    gaps: list[Kept],
    staying: Set[int],
) -> Kept:
    """Return which gap of the rollout goes before a sentence of the edited report."""
    if previous is None:
        return gaps[0]
    if source.origin is Origin.ROLLOUT:
        # What stood before the first sentence went to the one that is the first now.
        return gaps[source.position] if source.position else Kept(0, 0)
    if previous.origin is Origin.ROLLOUT and previous.position + 1 not in staying:
        return gaps[previous.position + 1]
    return Kept(0, 0)


def _needs_space(
    text: str, gap: Kept, source: SentenceSource, previous: SentenceSource | None
) -> bool:
    """Say whether a space must be put between a gap and a sentence."""
    if text[gap.start : gap.end][-1:].isspace() or (previous is None and gap.start == gap.end):
        return False
    before = SentenceSource(Origin.ROLLOUT, source.position - 1) if source.position else None
    were_neighbours = source.origin is Origin.ROLLOUT and previous == before
    return not were_neighbours
