"""The sections of a raw MIMIC-CXR report. Which header opens what stands in `section_headers.py`.

Rules, in the order in which they act:

1. A line of ten or more underscores and the line FINAL REPORT part a report into blocks. A block
   that begins with a wet read, a provisional impression or an addendum is left out, and of the
   rest the last FINAL REPORT counts that has findings or impression. An addendum below the report
   reaches to the end of its block, whatever headers it has.
2. Findings are what stands under FINDINGS; without it, under FINDINGS AND IMPRESSION; without that
   too, under the exam's name (CHEST, PA AND LATERAL). They are never taken from text without a
   header, where the official splitter takes the last paragraph: one cannot tell findings from the
   end of an indication, and a wrong reference is worse than a study less. Nor is "See impression."
   any.
3. Several sections of one name are joined in their order; equal ones stand once. The official
   splitter keeps the last: of a report on chest and ribs that would be the ribs.
4. HISTORY and REASON FOR EXAM are indications.
5. Without findings, the context (indication, technique, comparison) ends at its first blank line:
   what follows may be findings without a header, and context is shown to the model.
6. White space becomes single spaces. `___` stays within text; a section without any letter, such
   as `___.`, is empty.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from editgrpo.data.mimic_cxr.section_headers import (
    ASIDE,
    CONTEXT,
    NAMES,
    RESULTS,
    Kind,
    classify,
    in_capitals,
    is_name,
)

# Up to a colon that is not a time's, a semicolon or a full stop that is not of A.M. or P.M.
_NAME = r"[A-Z](?:[^:;.\n]++|(?<=\d):(?=\d\d)|(?<=[AP])\.(?=M)|(?<=\.M)\.)++"
_HEADER_OR_SEPARATOR = re.compile(
    rf"""
    ^[^\S\n]*+(?:
        (?P<separator> _{{10,}}[^\S\n]*$ | FINAL[ ]REPORT(?:[^\S\n]*\([^)\n]*\))?[^\w\n]*$ )
      | (?P<title>                           # headers that often lack a colon
            [*]*[^\S\n]*(?:FINAL[ ])?ADDENDUM\b[^\S\n]*[*]*:?
          | WET[ ]?(?:READ\b|___)(?:[^\S\n]*VERSION\b)?[^\S\n]*:?
        )
      | (?P<bare> FINDINGS?|IMPRESSION )(?:[.]|[^\S\n]*-)?[^\S\n]+(?=[A-Z][a-z])
      | (?:[^\w\n]|_)*+
        (?P<name> {_NAME} )
        (?: (?P<colon> [:;]) | [.]?$ )       # without a colon only where it stands alone
    )
    """,
    re.MULTILINE | re.VERBOSE,
)
_SMALL_HEADER = re.compile(rf"^[^\S\n]*+({'|'.join(sorted(NAMES)).lower()})[^\S\n]*:", re.MULTILINE)
_RESULTS_HEADER = re.compile(r"(?:FINDINGS|IMPRESSION):\s")
_SENTENCE_ENDS = (".", "?", "!", "___", ")")
_WORD = re.compile(r"[a-z:]")
_LOOK_BACK = 80  # characters, at most a line of a report
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_LABEL = re.compile(rf"({_NAME}):(?:\s|$)")
# A title without a colon ("PA AND LATERAL CHEST RADIOGRAPHS OF ___") is shorter than a finding.
_FEWEST_WORDS_OF_A_PARAGRAPH = 8


# "See impression." says nothing of the images, and a model would learn to write it.
_POINTER = re.compile(
    r"(?:Please )?(?:see|refer to) (?:the )?impression(?: (?:below|section))?[.]?", re.IGNORECASE
)


class Decision(StrEnum):
    """What the parse had to decide; its value says it in a count."""

    COMBINED = "findings and impression under one header, taken as findings"
    VIEW_HEADER = "findings under the exam's name"
    SEVERAL_FINDINGS = "several findings sections, joined"
    PRELIMINARY = "a wet read or provisional impression, not used"
    ADDENDUM = "an addendum, not used"
    POINTER = "findings that only point to the impression, not used"
    UNHEADED_TEXT = "no findings, but a paragraph without a header, not used"
    NO_HEADERS = "no header at all"


_SEEN = (
    (Kind.PRELIMINARY, Decision.PRELIMINARY),
    (Kind.ADDENDUM, Decision.ADDENDUM),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sections:
    """The sections of a report: tidied text, empty where there is none.

    Attributes:
        indication: With history and reason for exam.
        technique: Under TECHNIQUE or PROCEDURE; the exam's name is no technique.
        comparison: What the images were compared with.
        findings: See the rules above.
        impression: Of the final report; empty where it stands with the findings.
        examination: The exam's name, under EXAMINATION or STUDY.
        decisions: What had to be decided, to be counted.
    """

    indication: str = ""
    technique: str = ""
    comparison: str = ""
    findings: str = ""
    impression: str = ""
    examination: str = ""
    decisions: frozenset[Decision] = frozenset()


def parse_report(text: str) -> Sections:
    """Take a report apart.

    Args:
        text: A raw report, with line ends of any system.

    Returns:
        Its sections. Any text at all has an answer; one without headers has empty sections.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _with_results_on_lines_of_their_own(text)
    reports = _read(text)
    kinds = _kinds(reports)
    if not any(kinds):
        reports = _read(_with_capital_headers(text))
        kinds = _kinds(reports)
    decisions = {decision for kind, decision in _SEEN if kind in kinds}
    if not any(kinds):
        decisions.add(Decision.NO_HEADERS)

    pieces = _final_report(reports, text)
    findings = _findings(pieces, text, decisions)
    context = _texts if findings else _first_paragraphs
    if not findings and _has_unheaded_text(pieces, text):
        decisions.add(Decision.UNHEADED_TEXT)
    combined = () if Decision.COMBINED in decisions else (Kind.COMBINED,)
    return Sections(
        indication=" ".join(context(pieces, (Kind.INDICATION,), text)),
        technique=" ".join(context(pieces, (Kind.TECHNIQUE,), text)),
        comparison=" ".join(context(pieces, (Kind.COMPARISON,), text)),
        examination=" ".join(context(pieces, (Kind.EXAMINATION,), text)),
        findings=findings,
        impression=" ".join(_texts(pieces, (Kind.IMPRESSION, *combined), text)),
        decisions=frozenset(decisions),
    )


@dataclass(slots=True)
class _Piece:
    """Text from one header to the next; `kind` is None above a block's first header."""

    kind: Kind | None
    start: int
    end: int = 0
    capitals: bool = True


@dataclass(slots=True)
class _Reader:
    """Where reading stands.

    Attributes:
        reports: What FINAL REPORT parts, of blocks that lines of underscores part, of pieces.
    """

    piece: _Piece = field(default_factory=lambda: _Piece(None, 0))
    reports: list[list[list[_Piece]]] = field(default_factory=lambda: [[[]]])

    def close(self, end: int) -> None:
        self.piece.end = end
        self.reports[-1][-1].append(self.piece)

    def separate(self, start: int, end: int, *, is_final_report: bool) -> None:
        self.close(start)
        if is_final_report:
            self.reports.append([])
        self.reports[-1].append([])
        self.piece = _Piece(None, end)

    def open(self, kind: Kind, start: int, end: int, *, capitals: bool) -> None:
        """Begin a section at a header, unless the header belongs to the section that is open."""
        piece = self.piece
        below_report = piece.kind in ASIDE and any(
            earlier.kind in RESULTS and earlier.kind is not Kind.VIEW
            for earlier in self.reports[-1][-1]
        )
        is_label = kind is Kind.PART or (
            kind is Kind.VIEW and piece.kind in RESULTS and piece.kind is not Kind.VIEW
        )
        # "Comparison: none." as a line of what FINDINGS opened.
        is_line = not capitals and piece.capitals and kind in CONTEXT and piece.kind in RESULTS
        if not (below_report or is_label or is_line):
            self.close(start)
            self.piece = _Piece(kind, end, capitals=capitals)


def _read(text: str) -> list[list[list[_Piece]]]:
    reader = _Reader()
    for mark in _HEADER_OR_SEPARATOR.finditer(text):
        start, end = mark.span()
        separator, title, bare, name, colon = mark.groups()
        if separator is not None:
            reader.separate(start, end, is_final_report=separator.startswith("FINAL"))
            continue
        header = title or bare or name.rstrip()
        if name is None:
            kind = classify(header)
        elif colon == ":":
            kind = classify(header)
            # The colon of "CHEST AT 8:5" or of a web address ends no header.
            if kind in (Kind.OTHER, Kind.VIEW) and text[end : end + 1].strip():
                kind = None
        else:
            kind = classify(header) if is_name(header) else None
        if kind is not None:
            reader.open(kind, start, end, capitals=in_capitals(header))
    reader.close(len(text))
    return reader.reports


def _kinds(reports: list[list[list[_Piece]]]) -> list[Kind | None]:
    return [piece.kind for blocks in reports for block in blocks for piece in block]


def _with_capital_headers(text: str) -> str:
    """Put headers without a capital, "findings:", in capitals; no letter changes its place.

    A single one may be ordinary text that a line's end brought to a line's beginning.
    """
    if len(set(_SMALL_HEADER.findall(text))) < 2:
        return text
    return _SMALL_HEADER.sub(lambda header: header[0].upper(), text)


def _with_results_on_lines_of_their_own(text: str) -> str:
    """End a line where findings or impression follow a sentence on it; nothing changes its place.

    They would else be part of an indication, say, and be shown to the model.
    """
    parts = []
    end = 0
    for header in _RESULTS_HEADER.finditer(text):
        start = header.start()
        line = text[max(0, start - _LOOK_BACK) : start].rpartition("\n")[2]
        # "___." alone is what de-identification left of a line's beginning.
        if line[-1:] == " " and line.rstrip().endswith(_SENTENCE_ENDS) and _WORD.search(line):
            parts += [text[end : start - 1], "\n"]
            end = start
    return "".join([*parts, text[end:]])


def _final_report(reports: list[list[list[_Piece]]], text: str) -> list[_Piece]:
    """Return the pieces of the report itself; see rule 1."""
    kept = [
        [piece for block in blocks if not _is_aside(block) for piece in block] for blocks in reports
    ]
    if not any(_tidy(text[piece.start : piece.end]) for pieces in kept for piece in pieces):
        kept = reports[-1][-1:]  # nothing parts the addendum from its report
    for wanted in (RESULTS, tuple(Kind)):
        for pieces in reversed(kept):
            if any(piece.kind in wanted for piece in pieces):
                return pieces
    return kept[-1]


def _is_aside(block: list[_Piece]) -> bool:
    return next((piece.kind for piece in block if piece.kind is not None), None) in ASIDE


def _findings(pieces: list[_Piece], text: str, decisions: set[Decision]) -> str:
    for kind, decision in (
        (Kind.FINDINGS, None),
        (Kind.COMBINED, Decision.COMBINED),
        (Kind.VIEW, Decision.VIEW_HEADER),
    ):
        labelled = _texts(pieces, (kind,), text)
        written = list(dict.fromkeys(filter(None, map(_without_label, labelled))))
        texts = [text for text in written if not _POINTER.fullmatch(text)]
        decisions.update([Decision.POINTER] if len(texts) < len(written) else [])
        if texts:
            decisions.update([decision] if decision is not None else [])
            decisions.update([Decision.SEVERAL_FINDINGS] if len(texts) > 1 else [])
            return " ".join(texts)
    return ""


def _texts(pieces: list[_Piece], kinds: tuple[Kind, ...], text: str) -> list[str]:
    """Return the different texts of some kinds, in their order, tidied, none of them empty."""
    texts = [_tidy(text[piece.start : piece.end]) for piece in pieces if piece.kind in kinds]
    return list(dict.fromkeys(filter(None, texts))) if texts else texts


def _first_paragraphs(pieces: list[_Piece], kinds: tuple[Kind, ...], text: str) -> list[str]:
    """Return what `_texts` returns, of each piece its first paragraph only; see rule 5."""
    paragraphs = (_paragraphs(piece, text)[0] for piece in pieces if piece.kind in kinds)
    return list(dict.fromkeys(filter(None, map(_tidy, paragraphs))))


def _has_unheaded_text(pieces: list[_Piece], text: str) -> bool:
    """Say whether a paragraph stands above the first header, or after a section's first one."""
    return any(
        len(paragraph.split()) >= _FEWEST_WORDS_OF_A_PARAGRAPH
        for piece in pieces
        if piece.kind not in RESULTS and piece.kind not in ASIDE
        for paragraph in _paragraphs(piece, text)[0 if piece.kind is None else 1 :]
    )


def _paragraphs(piece: _Piece, text: str) -> list[str]:
    return _BLANK_LINE.split(text[piece.start : piece.end].strip())


def _without_label(text: str) -> str:
    """Take the exam's name off the beginning of findings: "CHEST, PA AND LATERAL: Clear."."""
    while (label := _LABEL.match(text)) and classify(label[1].rstrip()) is Kind.VIEW:
        text = _tidy(text[label.end() :])
    return text


def _tidy(text: str) -> str:
    tidied = " ".join(text.split()).lstrip(":;* ")
    return tidied if any(map(str.isalpha, tidied)) else ""
