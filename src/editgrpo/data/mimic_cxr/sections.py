"""The sections of a raw MIMIC-CXR report. Which header opens what is in `section_headers.py`.

Rules, in the order in which they act:

1. A line of ten or more underscores and the line FINAL REPORT part a report into blocks. A block
   that begins with a wet read, a provisional impression or an addendum is left out, and of the
   rest the last FINAL REPORT counts that has findings or impression. An addendum below the report
   reaches to the end of its block, whatever headers it has.
2. Findings are what stands under FINDINGS; without it, under FINDINGS AND IMPRESSION; without that
   too, under the exam's name (CHEST, PA AND LATERAL). They are never taken from text without a
   header, where the official splitter takes the last paragraph: one cannot tell findings from the
   end of an indication, and a wrong reference is worse than a study less. Nor are findings that
   only point elsewhere ("As above.", "See impression.") or stand for no text ("N/A") any.
3. Several sections of one name are joined in their order; equal ones stand once. The official
   splitter keeps the last: of a report on chest and ribs that would be the ribs.
4. HISTORY and REASON FOR EXAM are indications.
5. Without findings, the context (indication, technique, comparison) ends at its first blank line:
   what follows may be findings without a header, and context is shown to the model.
6. White space becomes single spaces. `___` stays within text; a section without any letter, such
   as `___.`, is empty.
7. Within findings a label in capitals that the table of headers lacks (SWAN-GANZ) is a sub-heading
   and stays in them, as does one of the body; elsewhere it ends the section before it. One of the
   body also takes findings up again that another section, such as NOTE, came into.
8. A header also counts further along on a line, `inline_headers.py`; and findings never hold
   "impression:", in whatever letters: they end there.

What is not used, and what was decided, is counted: see `Decision`.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from editgrpo.data.given_values import only_points, stands_for_nothing
from editgrpo.data.mimic_cxr.inline_headers import with_headers_on_lines_of_their_own
from editgrpo.data.mimic_cxr.pieces import NAME, Piece, read_pieces
from editgrpo.data.mimic_cxr.section_headers import (
    ASIDE,
    FINDINGS,
    NAMES,
    RESULTS,
    Kind,
    classify,
)

_SMALL_HEADER = re.compile(rf"^[^\S\n]*+({'|'.join(sorted(NAMES)).lower()})[^\S\n]*:", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_LABEL = re.compile(rf"({NAME}):(?:\s|$)")
# A title without a colon ("PA AND LATERAL CHEST RADIOGRAPHS OF ___") is shorter than a finding.
_FEWEST_WORDS_OF_A_PARAGRAPH = 8
_IMPRESSION = re.compile(r"\bimpressions?\s*:", re.IGNORECASE)


class Decision(StrEnum):
    """What the parse had to decide; its value says it in a count."""

    COMBINED = "findings and impression under one header, taken as findings"
    VIEW_HEADER = "findings under the exam's name"
    SEVERAL_FINDINGS = "several findings sections, joined"
    PRELIMINARY = "a wet read or provisional impression, not used"
    ADDENDUM = "an addendum, not used"
    POINTER = "findings that only point elsewhere, not used"
    STAND_IN = "findings that stand for no text, such as N/A, not used"
    SUB_HEADING = "findings with labels that the table of headers lacks, kept as sub-headings"
    SMALL_IMPRESSION = "an impression within the findings' text, taken out of them"
    OTHER_SECTION = "a section of another kind beside the findings, not used"
    TITLE = "a paragraph above the headers or under the exam's name, beside findings, not used"
    EARLIER_REPORT = "an earlier final report, not used"
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
    text = with_headers_on_lines_of_their_own(text)
    reports = read_pieces(text)
    kinds = _kinds(reports)
    if not any(kinds):
        reports = read_pieces(_with_capital_headers(text))
        kinds = _kinds(reports)
    decisions = {decision for kind, decision in _SEEN if kind in kinds}
    if not any(kinds):
        decisions.add(Decision.NO_HEADERS)

    pieces = _final_report(reports, text, decisions)
    pieces = _apart_from_impressions(pieces, text, decisions)
    findings = _findings(pieces, text, decisions)
    context = _texts if findings else _first_paragraphs
    decisions |= _unused(pieces, text, has_findings=bool(findings))
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


def _kinds(reports: list[list[list[Piece]]]) -> list[Kind | None]:
    return [piece.kind for blocks in reports for block in blocks for piece in block]


def _with_capital_headers(text: str) -> str:
    """Put headers without a capital, "findings:", in capitals; no letter changes its place.

    A single one may be ordinary text that a line's end brought to a line's beginning.
    """
    if len(set(_SMALL_HEADER.findall(text))) < 2:
        return text
    return _SMALL_HEADER.sub(lambda header: header[0].upper(), text)


def _final_report(
    reports: list[list[list[Piece]]], text: str, decisions: set[Decision]
) -> list[Piece]:
    """Return the pieces of the report itself; see rule 1."""
    kept = [
        [piece for block in blocks if not _is_aside(block) for piece in block] for blocks in reports
    ]
    if not any(_tidy(text[piece.start : piece.end]) for pieces in kept for piece in pieces):
        kept = reports[-1][-1:]  # nothing parts the addendum from its report
    with_results = [pieces for pieces in kept if any(piece.kind in RESULTS for piece in pieces)]
    with_headers = [pieces for pieces in kept if any(piece.kind is not None for piece in pieces)]
    if len(with_results) > 1:
        decisions.add(Decision.EARLIER_REPORT)
    return (with_results or with_headers or kept)[-1]


def _is_aside(block: list[Piece]) -> bool:
    return next((piece.kind for piece in block if piece.kind is not None), None) in ASIDE


def _apart_from_impressions(
    pieces: list[Piece], text: str, decisions: set[Decision]
) -> list[Piece]:
    """End findings where "impression:" is in them, in whatever letters; see rule 8."""
    apart: list[Piece] = []
    for piece in pieces:
        header = piece.kind in FINDINGS and _IMPRESSION.search(text, piece.start, piece.end)
        if not header:
            apart.append(piece)
            continue
        decisions.add(Decision.SMALL_IMPRESSION)
        apart.append(replace(piece, end=header.start()))
        apart.append(replace(piece, kind=Kind.IMPRESSION, start=header.end()))
    return apart


def _findings(pieces: list[Piece], text: str, decisions: set[Decision]) -> str:
    for kind, decision in (
        (Kind.FINDINGS, None),
        (Kind.COMBINED, Decision.COMBINED),
        (Kind.VIEW, Decision.VIEW_HEADER),
    ):
        of_kind = [piece for piece in pieces if piece.kind is kind]
        labelled = (_tidy(text[piece.start : piece.end]) for piece in of_kind)
        written = list(dict.fromkeys(filter(None, map(_without_label, labelled))))
        texts = []
        for one in written:
            if stands_for_nothing(one, "findings"):
                decisions.add(Decision.STAND_IN)
            elif only_points(one):
                decisions.add(Decision.POINTER)
            else:
                texts.append(one)
        if texts:
            seen = {
                decision: decision is not None,
                Decision.SEVERAL_FINDINGS: len(texts) > 1,
                Decision.SUB_HEADING: any(piece.has_unknown_label for piece in of_kind),
            }
            decisions.update(name for name, is_so in seen.items() if name is not None and is_so)
            return " ".join(texts)
    return ""


def _unused(pieces: list[Piece], text: str, *, has_findings: bool) -> set[Decision]:
    """Return what of a report is not used."""
    if not has_findings:
        has_text = _has_unheaded_text(pieces, text)
        return {Decision.UNHEADED_TEXT} if has_text else set()
    title_kinds: tuple[Kind | None, ...] = (None, Kind.VIEW)
    if not any(piece.kind in (Kind.FINDINGS, Kind.COMBINED) for piece in pieces):
        title_kinds = (None,)  # the exam's name is the header of the findings
    unused = set()
    for piece in pieces:
        section = text[piece.start : piece.end]
        if piece.kind in (Kind.OTHER, Kind.UNKNOWN) and _tidy(section):
            unused.add(Decision.OTHER_SECTION)
        if piece.kind in title_kinds and len(section.split()) >= _FEWEST_WORDS_OF_A_PARAGRAPH:
            unused.add(Decision.TITLE)
    return unused


def _texts(pieces: list[Piece], kinds: tuple[Kind, ...], text: str) -> list[str]:
    """Return the different texts of some kinds, in their order, tidied, none of them empty."""
    texts = [
        _given(text[piece.start : piece.end], kinds) for piece in pieces if piece.kind in kinds
    ]
    return list(dict.fromkeys(filter(None, texts)))


def _first_paragraphs(pieces: list[Piece], kinds: tuple[Kind, ...], text: str) -> list[str]:
    """Return what `_texts` returns, of each piece its first paragraph only; see rule 5."""
    paragraphs = (_paragraphs(piece, text)[0] for piece in pieces if piece.kind in kinds)
    return list(dict.fromkeys(filter(None, (_given(one, kinds) for one in paragraphs))))


def _has_unheaded_text(pieces: list[Piece], text: str) -> bool:
    """Say whether a paragraph is above the first header, or after a section's first one."""
    return any(
        len(paragraph.split()) >= _FEWEST_WORDS_OF_A_PARAGRAPH
        for piece in pieces
        if piece.kind not in RESULTS and piece.kind not in ASIDE
        for paragraph in _paragraphs(piece, text)[0 if piece.kind is None else 1 :]
    )


def _paragraphs(piece: Piece, text: str) -> list[str]:
    return _BLANK_LINE.split(text[piece.start : piece.end].strip())


def _without_label(text: str) -> str:
    """Take the exam's name off the beginning of findings: "CHEST, PA AND LATERAL: Clear."."""
    while (label := _LABEL.match(text)) and classify(label[1].rstrip()) is Kind.VIEW:
        text = _tidy(text[label.end() :])
    return text


def _given(text: str, kinds: tuple[Kind, ...]) -> str:
    """Return a section's text, tidied; empty where it stands for none."""
    tidied = _tidy(text)
    section = kinds[0].value
    is_pointer = section == "impression" and only_points(tidied)
    return "" if is_pointer or stands_for_nothing(tidied, section) else tidied


def _tidy(text: str) -> str:
    tidied = " ".join(text.split()).lstrip(":;* ")
    return tidied if any(map(str.isalpha, tidied)) else ""
