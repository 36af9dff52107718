"""A report as pieces: text from one header to the next. What becomes of them: `sections.py`."""

import re
from dataclasses import dataclass, field

from editgrpo.data.mimic_cxr.inline_headers import BARE, BEHIND_BARE
from editgrpo.data.mimic_cxr.section_headers import (
    ASIDE,
    CONTEXT,
    FINDINGS,
    RESULTS,
    Kind,
    classify,
    in_capitals,
    is_name,
    names_findings_alone,
)

# Up to a colon that is not a time's, a semicolon or a full stop that is not of A.M. or P.M.
NAME = r"[A-Z](?:[^:;.\n]++|(?<=\d):(?=\d\d)|(?<=[AP])\.(?=M)|(?<=\.M)\.)++"
"""Text that may be a header, as a pattern."""

_HEADER_OR_SEPARATOR = re.compile(
    rf"""
    ^[^\S\n]*+(?:
        (?P<separator> _{{10,}}[^\S\n]*$ | FINAL[ ]REPORT(?:[^\S\n]*\([^)\n]*\))?[^\w\n]*$ )
      | (?P<title>                           # headers that often lack a colon
            [*]*[^\S\n]*(?:FINAL[ ])?ADDENDUM\b[^\S\n]*[*]*:?
          | WET[ ]?(?:READ\b|___)(?:[^\S\n]*VERSION\b)?[^\S\n]*:?
        )
      | (?P<bare> {BARE} ){BEHIND_BARE}
      | (?:[^\w\n]|_)*+
        (?P<name> {NAME} )
        (?: (?P<colon> [:;]) | [.]?$ )       # without a colon only where it stands alone
    )
    """,
    re.MULTILINE | re.VERBOSE,
)
_SMALL_LETTER_NEXT = re.compile(r"\s*+[a-z]")


@dataclass(slots=True)
class Piece:
    """Text from one header to the next.

    Attributes:
        kind: What the header opened; None above a block's first header.
        start: Where the text begins, behind the header.
        end: Where it ends.
        capitals: Whether the header is in capitals.
        has_unknown_label: Whether there is a label in it that the table of headers lacks.
    """

    kind: Kind | None
    start: int
    end: int = 0
    capitals: bool = True
    has_unknown_label: bool = False


@dataclass(slots=True)
class _Reader:
    """How far reading has come.

    Attributes:
        reports: What FINAL REPORT parts, of blocks that lines of underscores part, of pieces.
        result: Which of the results was last closed in this block.
    """

    piece: Piece = field(default_factory=lambda: Piece(None, 0))
    reports: list[list[list[Piece]]] = field(default_factory=lambda: [[[]]])
    result: Kind | None = None

    def close(self, end: int) -> None:
        self.piece.end = end
        if self.piece.kind in RESULTS:
            self.result = self.piece.kind
        self.reports[-1][-1].append(self.piece)

    def separate(self, start: int, end: int, *, is_final_report: bool) -> None:
        self.close(start)
        if is_final_report:
            self.reports.append([])
        self.reports[-1].append([])
        self.piece = Piece(None, end)
        self.result = None

    def open(self, kind: Kind, header: str, start: int, end: int) -> None:
        """Begin a section at a header, unless the header belongs to the section that is open."""
        piece = self.piece
        below_report = piece.kind in ASIDE and any(
            earlier.kind in RESULTS and earlier.kind is not Kind.VIEW
            for earlier in self.reports[-1][-1]
        )
        capitals = in_capitals(header)
        # "Comparison: none." as a line of what FINDINGS opened.
        is_line = not capitals and piece.capitals and kind in CONTEXT and piece.kind in RESULTS
        if below_report or is_line:
            return
        is_aside = self.result is Kind.FINDINGS and piece.kind not in RESULTS
        if is_aside and capitals and kind is Kind.PART:
            # "NOTE: Rotated." between the parts: what is below "LUNGS:" is findings again.
            self.close(start)
            self.piece = Piece(Kind.FINDINGS, start)
            return
        if _is_label(kind, header, piece.kind):
            piece.has_unknown_label |= kind is Kind.UNKNOWN
            return
        self.close(start)
        self.piece = Piece(kind, end, capitals=capitals)


def _is_label(kind: Kind, header: str, section: Kind | None) -> bool:
    """Say whether a header names a part of the section that it is in."""
    match kind:
        case Kind.PART:
            return True
        case Kind.UNKNOWN:
            return section in FINDINGS
        case Kind.VIEW:
            return section in RESULTS and section is not Kind.VIEW
        case Kind.FINDINGS:
            return section in FINDINGS and not names_findings_alone(header)
    return False


def read_pieces(text: str) -> list[list[list[Piece]]]:
    """Part a text at its headers.

    Args:
        text: A report, its headers at the beginnings of lines; lines end in a line feed.

    Returns:
        What FINAL REPORT parts, of blocks that lines of underscores part, of pieces.
    """
    reader = _Reader()
    for mark in _HEADER_OR_SEPARATOR.finditer(text):
        start, end = mark.span()
        separator, title, bare, name, colon = mark.groups()
        if separator is not None:
            reader.separate(start, end, is_final_report=separator.startswith("FINAL"))
            continue
        header = title or bare or name.rstrip()
        kind = classify(header)
        if name is not None and not _is_header(header, kind, colon, text, end):
            kind = None
        if kind is not None:
            reader.open(kind, header, start, end)
    reader.close(len(text))
    return reader.reports


def _is_header(header: str, kind: Kind | None, colon: str | None, text: str, end: int) -> bool:
    """Say whether text at a line's beginning, with what follows it, is a header."""
    if colon == ":":
        # The colon of "CHEST AT 8:5" or of a web address ends no header.
        is_open = kind in (Kind.OTHER, Kind.UNKNOWN, Kind.VIEW)
        return not (is_open and text[end : end + 1].strip())
    if not is_name(header):
        return False
    # "Impression" that begins a line of prose, "Impression\n is of edema.", is none.
    return header.isupper() or _SMALL_LETTER_NEXT.match(text, end) is None
