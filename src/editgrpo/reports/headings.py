"""Findings and impression in one text, under their headings.

A reference is written by `with_headings`; what a model writes is read as leniently as can be, since
a report without its headings, or with one section only, is still to be scored.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from editgrpo.config import Section
from editgrpo.reports.types import Span


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a report under one heading.

    Attributes:
        section: What it belongs to.
        heading: The heading with the white space around it; empty where the text begins without.
        body: What follows, up to the next heading.
    """

    section: Section
    heading: Span
    body: Span


# With the marks of a heading or of bold print in Markdown.
_WORD = re.compile(r"\b(?P<word>findings?|impressions?)\b\**\s*:\**\s*", re.IGNORECASE)
_MARKS = "*# \t\r\n"
_ENDS = ".!?:;)]"


def with_headings(findings: str, impression: str) -> str:
    """Write both sections as one text.

    Args:
        findings: The findings.
        impression: The impression.

    Returns:
        `FINDINGS: ...` and, on the next line, `IMPRESSION: ...`.
    """
    return f"FINDINGS: {findings}\nIMPRESSION: {impression}"


def read_passages(text: str) -> list[Passage]:
    """Find the headings of a report and what is under each.

    Args:
        text: A report of both sections, written by a model perhaps.

    Returns:
        At least one passage; headings and bodies together are the text. What stands before the
        first heading, and a text without any, is findings. Headings count in any letters: at the
        start of the text or of a line, or behind a sentence's end; written in capitals, and
        IMPRESSION in a text without capitals, wherever they stand.
    """
    headings: list[tuple[Section, Span]] = []
    for match in _WORD.finditer(text):
        if (section := _section_of(match)) is None:
            continue
        start = len(text[: match.start()].rstrip(_MARKS))
        if headings and start < headings[-1][1].end:  # white space between two headings
            named, earlier = headings[-1]
            headings[-1] = named, Span(earlier.start, start)
        headings.append((section, Span(start, match.end())))
    if not headings or headings[0][1].start > 0:
        headings.insert(0, (Section.FINDINGS, Span(0, 0)))
    ends = [*(heading.start for _, heading in headings[1:]), len(text)]
    return [
        Passage(section, heading, Span(heading.end, end))
        for (section, heading), end in zip(headings, ends, strict=True)
    ]


def _section_of(match: re.Match[str]) -> Section | None:
    """Return which section a word with a colon begins; None if it is no heading."""
    text, word = match.string, match["word"]
    section = Section.IMPRESSION if word.lower().startswith("imp") else Section.FINDINGS
    before = text[: match.start()].rstrip(_MARKS)
    between = text[len(before) : match.start()]
    is_apart = not before or "\n" in between or before[-1] in _ENDS
    is_lower_case = section is Section.IMPRESSION and text.islower()
    return section if is_apart or word.isupper() or is_lower_case else None


def section_texts(text: str) -> dict[Section, str]:
    """Return what a report says under each heading.

    Args:
        text: A report of both sections.

    Returns:
        Both sections, the passages of one joined with a space; one that is missing is empty.
    """
    passages = read_passages(text)
    return {
        section: " ".join(
            body
            for one in passages
            if one.section is section and (body := text[one.body.start : one.body.end].strip())
        )
        for section in Section
    }


def without_headings(text: str) -> str:
    """Return findings, then impression, as running text."""
    return " ".join(filter(None, section_texts(text).values()))


def in_sections(texts: Sequence[str]) -> list[str]:
    """Return the sections of reports one after another, two for each report."""
    return [section for text in texts for section in section_texts(text).values()]
