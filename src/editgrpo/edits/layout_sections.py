"""An edited report of findings and impression as text: each section laid out on its own.

Headings stay as the rollout has them. A section that the rollout lacks gets one with its first
sentence.
"""

from collections.abc import Sequence

from editgrpo.config import Section
from editgrpo.edits.edit import Origin, SentenceSource
from editgrpo.edits.layout import Kept, New, Part, lay_out
from editgrpo.reports.headings import Passage, read_passages
from editgrpo.reports.types import AnnotatedReport, Span

_LINE_END = New("\n", is_sentence=False)


def lay_out_sections(
    text: str,
    *,
    spans: Sequence[Span],
    sources: Sequence[SentenceSource],
    reference: AnnotatedReport,
    truncated: bool,
) -> list[Part]:
    """Write the edited text as pieces of the rollout and new text, in order.

    Args:
        text: The decoded rollout, see `read_passages`.
        spans: Its sentences, without headings; for a truncated rollout the complete ones.
        sources: Where the sentences of the edited report come from.
        reference: The report that sentences are inserted from; its sentences name their sections.
        truncated: Whether the rollout ran into the length limit.

    Returns:
        The parts, as of `lay_out`.
    """
    passages = read_passages(text)
    of_span = [_passage_of(span, passages) for span in spans]
    inside, missing = _sources_by_passage(sources, passages, of_span, reference)
    last = of_span[-1] if spans else 0
    parts: list[Part] = []
    for number, passage in enumerate(passages):
        first = next((k for k, one in enumerate(of_span) if one >= number), len(spans))
        own = [span for span, one in zip(spans, of_span, strict=True) if one == number]
        start = passage.body.start
        body = lay_out(
            text[start : passage.body.end],
            spans=[Span(span.start - start, span.end - start) for span in own],
            sources=[_counted_from(first, source) for source in inside[number]],
            reference=reference,
            truncated=truncated and number >= last,
        )
        heading = text[passage.heading.start : passage.heading.end]
        if heading:
            parts.append(Kept(passage.heading.start, passage.heading.end))
            if body and not heading[-1].isspace():
                parts.append(New(" ", is_sentence=False))
        parts += [_moved(part, start) for part in body]
    return _with_missing(parts, missing, reference)


def _passage_of(span: Span, passages: Sequence[Passage]) -> int:
    return max(k for k, one in enumerate(passages) if one.body.start <= span.start or k == 0)


def _sources_by_passage(
    sources: Sequence[SentenceSource],
    passages: Sequence[Passage],
    of_span: Sequence[int],
    reference: AnnotatedReport,
) -> tuple[list[list[SentenceSource]], dict[Section, list[SentenceSource]]]:
    """Return the sources of each passage, and those of sections that the rollout lacks."""
    inside: list[list[SentenceSource]] = [[] for _ in passages]
    missing: dict[Section, list[SentenceSource]] = {}
    current = 0
    for source in sources:
        if source.origin is Origin.ROLLOUT:
            current = of_span[source.position]
            inside[current].append(source)
            continue
        section = Section(reference.sentences[source.position].section)
        of_section = [
            k
            for k, one in enumerate(passages)
            if one.section is section and one.body.end > one.heading.start
        ]
        if not of_section:
            missing.setdefault(section, []).append(source)
            continue
        # Where it was put: in the passage at hand or the next one, else behind the last one.
        current = next((k for k in of_section if k >= current), of_section[-1])
        inside[current].append(source)
    return inside, missing


def _counted_from(first: int, source: SentenceSource) -> SentenceSource:
    if source.origin is Origin.REFERENCE:
        return source
    return SentenceSource(Origin.ROLLOUT, source.position - first)


def _moved(part: Part, start: int) -> Part:
    return part if isinstance(part, New) else Kept(part.start + start, part.end + start)


def _with_missing(
    parts: list[Part],
    missing: dict[Section, list[SentenceSource]],
    reference: AnnotatedReport,
) -> list[Part]:
    for section, sources in missing.items():
        text = " ".join(reference.sentences[source.position].text for source in sources)
        sentence = New(text, is_sentence=True)
        if section is Section.FINDINGS:
            parts = [*_titled("FINDINGS: ", sentence), *([_LINE_END, *parts] if parts else [])]
        else:
            parts = [*([*parts, _LINE_END] if parts else []), *_titled("IMPRESSION: ", sentence)]
    return parts


def _titled(heading: str, sentence: New) -> tuple[New, New]:
    return New(heading, is_sentence=False), sentence
