"""Where findings end: not at a label of theirs, but at every form of another section's header."""

import json
import re
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.data.mimic_cxr import Decision, parse_report
from editgrpo.data.mimic_cxr.section_headers import Kind, classify
from tests.builders import shared_data

TITLE = " " * 33 + "FINAL REPORT"

# As radiologists label the parts of their findings; all but a few are not in the table of headers.
LABELS = [
    "LUNGS", "LUNGS AND PLEURA", "LUNGS/PLEURA", "LUNG FIELDS", "AIRWAY", "AIRWAYS", "PLEURA",
    "PLEURAL SPACES", "HEART", "HEART AND MEDIASTINUM", "CARDIOMEDIASTINUM", "CARDIOVASCULAR",
    "MEDIASTINUM", "MEDIASTINUM AND HILA", "HILA", "VASCULATURE", "DIAPHRAGM", "BONES",
    "OSSEOUS STRUCTURES", "BONES AND SOFT TISSUES", "SOFT TISSUES", "CHEST WALL", "UPPER ABDOMEN",
    "HARDWARE", "SUPPORT APPARATUS", "LINES/TUBES", "LINES AND TUBES", "ET TUBE", "SWAN-GANZ",
    "PACEMAKER/ICD", "OTHER", "OTHER FINDINGS", "INCIDENTAL FINDINGS", "LUNG FINDINGS",
    "LIMITATIONS", "STUDY QUALITY", "PRIOR SURGERY", "INTERVAL CHANGE",
    "INTRA-AORTIC BALLOON PUMP", "LVAD", "TECHNICAL QUALITY", "PORTABLE CHEST",
    "RIGHT RIBS, TWO VIEWS",
    "(MONITORING) DEVICES", "GASTRIC AIR #2",
]  # fmt: skip


def report(*lines: str) -> str:
    return "\n".join([TITLE, *(f" {line}" for line in lines), ""])


def test_the_collected_cases_come_out_as_they_should() -> None:
    path = shared_data().parent / "cases" / "sections.jsonl"
    if not path.is_file():
        pytest.skip("the collected cases are not at hand: no ../shared/cases/sections.jsonl")
    for line in path.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        parsed = parse_report(f"{TITLE}\n {case.pop('report')}")
        assert {name: getattr(parsed, name) for name in case} == case


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("header", ["FINDINGS:", "FINDINGS AND IMPRESSION:", "CHEST, ONE VIEW:"])
def test_a_label_within_findings_stays_in_them_with_what_follows(header: str, label: str) -> None:
    parsed = parse_report(
        report(header, "Low volumes.", f"{label}: As before.", "LUNGS: Clear.", "IMPRESSION: Fine.")
    )
    # One view after another is a second section of findings where the first has no FINDINGS.
    is_second = header.startswith("CHEST") and classify(label) is Kind.VIEW
    kept = "As before." if is_second else f"{label}: As before."
    assert parsed.findings == f"Low volumes. {kept} LUNGS: Clear."
    assert parsed.impression == "Fine."


@pytest.mark.parametrize("between", ["NOTE", "COMMENT", "TECHNIQUE", "NOTIFICATION"])
def test_a_part_of_the_body_takes_findings_up_again(between: str) -> None:
    # LUNGS was lost with the note, HEART stood in the technique that a model is shown.
    parsed = parse_report(
        report(
            *("FINDINGS:", "BONES: Intact.", f"{between}: Rotated.", "LUNGS: Clear."),
            *("HEART: Normal.", "IMPRESSION: Fine.", "NOTE: Seen.", "LUNGS: CT is advised."),
        )
    )
    assert parsed.findings == "BONES: Intact. LUNGS: Clear. HEART: Normal."
    assert parsed.technique == ("Rotated." if between == "TECHNIQUE" else "")
    assert parsed.impression == "Fine."


def test_kept_sub_headings_are_counted() -> None:
    parsed = parse_report(report("FINDINGS:", "LUNGS: Clear.", "SWAN-GANZ: In place."))
    assert parsed.decisions == {Decision.SUB_HEADING}
    assert not parse_report(report("FINDINGS:", "LUNGS: Clear.")).decisions


@pytest.mark.parametrize(
    "end",
    [
        "\n IMPRESSION: Fine.",
        "\n IMPRESSION\n Fine.",
        "\n IMPRESSION.\n Fine.",
        "\n IMPRESSION - Fine.",
        "\n IMPRESSION -- Fine.",
        "\n IMPRESSION \u2013 Fine.",
        "\n IMPRESSION Fine.",
        "\n IMPRESSION  Fine.",
        "\n IMPRESSION; Fine.",
        "\n IMPRESSION : Fine.",
        "\n IMPRESSION:Fine.",
        "\n Impression: Fine.",
        "\n Impression\n Fine.",
        "\n Impression - Fine.",
        "\n Impression Fine.",
        "\n impression: Fine.",
        "\n IMP: Fine.",
        "\n IMP\n Fine.",
        "\n Imp: Fine.",
        "\n IMPR: Fine.",
        "\n IMPRESION: Fine.",
        "\n FINAL IMPRESSION: Fine.",
        "\n CONCLUSION: Fine.",
        "\n ASSESSMENT: Fine.",
        "\n CONCLUSION\n Fine.",
        "\n Conclusion: Fine.",
        "  IMPRESSION: Fine.",
        " IMPRESSION: Fine.",
        "IMPRESSION: Fine.",
        " Impression: Fine.",
        " Impression - Fine.",
        " Impression\n Fine.",
        " impression: Fine.",
        " IMPRESSION Fine.",
        " IMP: Fine.",
        " IMPR: Fine.",
        " CONCLUSION: Fine.",
        " Conclusion: Fine.",
        " FINAL IMPRESSION: Fine.",
    ],
)
def test_an_impression_ends_findings_however_it_is_set(end: str) -> None:
    parsed = parse_report(report("INDICATION: Cough.", f"FINDINGS: The lungs are clear.{end}"))
    assert (parsed.findings, parsed.impression) == ("The lungs are clear.", "Fine.")
    assert parsed.indication == "Cough."


@pytest.mark.parametrize(
    "end", ["  IMPRESSION: Fine.", " IMPRESSION: Fine.", "\n Impression\n Fine."]
)
def test_findings_without_a_full_stop_end_at_an_impression_too(end: str) -> None:
    for text in ("The lungs are clear", "LUNGS ARE CLEAR", "NO EFFUSION.\n LUNGS CLEAR"):
        parsed = parse_report(report(f"FINDINGS: {text}{end}"))
        assert (parsed.findings, parsed.impression) == (" ".join(text.split()), "Fine.")


@pytest.mark.parametrize(
    "start",
    [
        "FINDINGS  PA and lateral",
        "FINDINGS PA and lateral",
        "FINDINGS: PA and lateral",
        "Findings - PA and lateral",
        "Findings: PA and lateral",
        "Findings PA and lateral",
        "CHEST, TWO VIEWS: FINDINGS: PA and lateral",
    ],
)
def test_findings_begin_however_their_header_is_set(start: str) -> None:
    for above in ("COMPARISON: Prior film.\n ", "COMPARISON: Prior film.  "):
        parsed = parse_report(report(f"{above}{start} views.", "", "IMPRESSION: Fine."))
        if "CHEST" in start and above.endswith("  "):
            continue  # the exam's name further along on a line is no header
        assert (parsed.comparison, parsed.findings) == ("Prior film.", "PA and lateral views.")


def test_all_sections_may_stand_on_one_line() -> None:
    parsed = parse_report(
        report("INDICATION: Cough. COMPARISON: ___ film. FINDINGS: Clear. RECOMMENDATION: None.")
    )
    assert (parsed.indication, parsed.comparison) == ("Cough.", "___ film.")
    assert parsed.findings == "Clear."


@pytest.mark.parametrize(
    "prose",
    [
        "The overall impression is of edema.",
        "The overall\nimpression is of edema.",
        "Impression is unchanged.",
        "Findings are consistent with edema.",
        "There is haze. Findings\nare consistent with edema.",
        "Comparison is made to the film of ___.",
        "Comparison: ___ film.",
        "Technique is suboptimal.",
        "HISTORY of surgery is known.",
        "Findings were discussed with Dr. ___.",
        "These findings: an effusion and haze.",
        "Please see IMPRESSION for more.",
        "There are FINDINGS consistent with edema.",
        "History: of surgery.",
    ],
)
def test_prose_neither_ends_nor_begins_a_section(prose: str) -> None:
    lines = prose.split("\n")
    parsed = parse_report(report("FINDINGS: Haze.", *lines, "No effusion.", "IMPRESSION: Fine."))
    assert parsed.findings == f"Haze. {' '.join(lines)} No effusion."
    assert parsed.impression == "Fine."


@pytest.mark.parametrize(
    ("below", "decision"),
    [
        ("RECOMMENDATION(S): CT in three months.", Decision.OTHER_SECTION),
        ("NOTIFICATION: Dr. ___ by phone.", Decision.OTHER_SECTION),
        ("CT CHEST: As before.", Decision.OTHER_SECTION),
        ("WET READ: ___ Clear.", Decision.PRELIMINARY),
        ("ADDENDUM: One more nodule.", Decision.ADDENDUM),
    ],
)
def test_what_is_cut_from_below_findings_is_counted(below: str, decision: Decision) -> None:
    for between in ("", "IMPRESSION: Fine."):
        parsed = parse_report(report("FINDINGS: Clear.", between, below, "More of it."))
        assert parsed.findings == "Clear."
        assert parsed.decisions == {decision}


def test_paragraphs_and_reports_that_are_not_used_are_counted() -> None:
    words = "One two three four five six seven eight."
    above = parse_report(report(words, "FINDINGS: Clear."))
    beside = parse_report(report(f"CHEST, TWO VIEWS: {words}", "FINDINGS: Clear."))
    assert above.decisions == beside.decisions == {Decision.TITLE}
    earlier = parse_report(report("FINDINGS: Old.") + report("FINDINGS: New."))
    assert (earlier.findings, earlier.decisions) == ("New.", {Decision.EARLIER_REPORT})
    small = parse_report(report("FINDINGS: Clear with an impression: of edema."))
    assert (small.findings, small.impression) == ("Clear with an", "of edema.")
    assert small.decisions == {Decision.SMALL_IMPRESSION}


SECTIONS = {
    "findings": ("FINDINGS", "FINDINGS AND IMPRESSION"),
    "impression": ("IMPRESSION", "IMP", "CONCLUSION"),
    "indication": ("INDICATION", "HISTORY", "REASON FOR EXAMINATION"),
    "technique": ("TECHNIQUE",),
    "comparison": ("COMPARISON",),
    "": ("RECOMMENDATION(S)", "NOTIFICATION"),
}
ANY_LABEL = st.sampled_from(LABELS) | st.text(
    st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ /&-,()#0123456789"), min_size=1, max_size=30
)


@pytest.mark.slow
@given(
    order=st.permutations(sorted(SECTIONS)),
    spellings=st.lists(st.integers(0, 9), min_size=6, max_size=6),
    labels=st.lists(ANY_LABEL, min_size=1, max_size=5),
    gap=st.sampled_from(["\n ", "\n \n ", "  "]),
)
def test_no_order_of_sections_and_no_label_in_capitals_cuts_findings(
    order: list[str], spellings: list[int], labels: list[str], gap: str
) -> None:
    numbers = count()
    word = {name: f"Word{next(numbers)}." for name in order}
    known = {Kind.UNKNOWN, Kind.PART, Kind.VIEW, None}
    labels = [text for text in labels if classify(text.strip()) in known]
    parts = "".join(f"\n {label}: Part{k}." for k, label in enumerate(labels))
    made = []
    for name, number in zip(order, spellings, strict=True):
        header = SECTIONS[name][number % len(SECTIONS[name])]
        made.append(f"{header}: {word[name]}{parts if name == 'findings' else ''}")
    parsed = parse_report(f"{TITLE}\n {gap.join(made)}\n")
    expected = {name: text for name, text in word.items() if name and name != "findings"}
    assert {name: getattr(parsed, name) for name in expected} == expected
    said = re.findall(r"Word\d+\.|Part\d+\.", parsed.findings)
    assert said == [word["findings"], *(f"Part{k}." for k in range(len(labels)))]
    assert not re.search(r"impression\s*:", parsed.findings, re.IGNORECASE)
