"""Reports of findings and impression: how they are written, and how leniently they are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.config import Section
from editgrpo.reports.headings import (
    in_sections,
    read_passages,
    section_texts,
    with_headings,
    without_headings,
)
from editgrpo.reports.rules import RulesAnnotator
from editgrpo.reports.sectioned import SectionedAnnotator

LUNGS, HEART = "The lungs are clear.", "Normal heart."


@pytest.mark.parametrize(
    ("text", "findings", "impression"),
    [
        (f"FINDINGS: {LUNGS}\nIMPRESSION: {HEART}", LUNGS, HEART),
        (f"FINDINGS: {LUNGS} IMPRESSION: {HEART}", LUNGS, HEART),
        (f"Findings:\n{LUNGS}\n\nImpression:\n{HEART}", LUNGS, HEART),
        (f"**Findings:** {LUNGS}\n\n## **Impression**: {HEART}", LUNGS, HEART),
        # A lower-case model writes no full stops either.
        ("findings: lungs clear impression: normal heart", "lungs clear", "normal heart"),
        # The other way round, twice, and in pieces.
        (f"IMPRESSION: {HEART} FINDINGS: {LUNGS}", LUNGS, HEART),
        (f"FINDINGS: FINDINGS: {LUNGS} IMPRESSION: {HEART}", LUNGS, HEART),
        (f"FINDINGS: {LUNGS} IMPRESSION: {HEART} FINDINGS: Old rib.", f"{LUNGS} Old rib.", HEART),
        # Headings that are missing: what has none is findings.
        (LUNGS, LUNGS, ""),
        (f"{LUNGS} IMPRESSION: {HEART}", LUNGS, HEART),
        (f"FINDINGS: {LUNGS}", LUNGS, ""),
        (f"IMPRESSION: {HEART}", "", HEART),
        (f"FINDINGS:\nIMPRESSION: {HEART}", "", HEART),
        ("", "", ""),
        # No headings: the word within a sentence.
        ("Incidental findings: rib. The impression is of edema.",) * 2 + ("",),
        ("No acute findings. Old findings unchanged.",) * 2 + ("",),
    ],
)
def test_sections_are_found_however_a_report_is_written(
    text: str, findings: str, impression: str
) -> None:
    assert section_texts(text) == {Section.FINDINGS: findings, Section.IMPRESSION: impression}
    assert without_headings(text) == " ".join(filter(None, (findings, impression)))
    assert in_sections([text, ""]) == [findings, impression, "", ""]


plain = st.text("ab. \n", max_size=12).map(str.strip)


@given(plain, plain)
def test_what_is_written_is_read_back(findings: str, impression: str) -> None:
    read = section_texts(with_headings(findings, impression))
    assert (read[Section.FINDINGS], read[Section.IMPRESSION]) == (findings, impression)


pieces = st.sampled_from(["FINDINGS", "impression", "Findings", "**", ":", "\n", " ", "a.", "b"])


@given(st.lists(pieces, max_size=14).map("".join))
def test_headings_and_bodies_are_the_whole_text(text: str) -> None:
    parts = [part for one in read_passages(text) for part in (one.heading, one.body)]
    assert "".join(text[part.start : part.end] for part in parts) == text


@given(st.lists(pieces, max_size=14).map("".join))
def test_a_sectioned_annotator_keeps_the_promise_of_an_annotator(text: str) -> None:
    annotator = SectionedAnnotator(RulesAnnotator())
    spans = annotator.split(text)
    (report,) = annotator.annotate([text])
    assert [one.text for one in report.sentences] == [text[s.start : s.end] for s in spans]
    assert sorted(spans, key=lambda span: span.start) == spans


def test_a_sentence_knows_its_section_and_headings_are_no_sentences() -> None:
    annotator = SectionedAnnotator(RulesAnnotator())
    reports = annotator.annotate([with_headings(f"{LUNGS} {HEART}", HEART), LUNGS])
    assert [[(one.section, one.text) for one in report.sentences] for report in reports] == [
        [("findings", LUNGS), ("findings", HEART), ("impression", HEART)],
        [("findings", LUNGS)],
    ]
    assert reports[0].text == f"FINDINGS: {LUNGS} {HEART}\nIMPRESSION: {HEART}"
