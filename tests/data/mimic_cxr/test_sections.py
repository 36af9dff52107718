"""Reports of our own wording in MIMIC-CXR's layout: FINAL REPORT, then a space before each line."""

import re
import textwrap
from dataclasses import dataclass, fields, replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.data.iu_xray.reports import read_reports
from editgrpo.data.mimic_cxr import Decision, Sections, parse_report
from editgrpo.data.mimic_cxr.section_headers import Kind, classify
from tests.builders import shared_data

RULE = " " + "_" * 78
TITLE = " " * 33 + "FINAL REPORT"
NAMES = [field.name for field in fields(Sections) if field.name != "decisions"]


def report(*lines: str) -> str:
    return "\n".join([TITLE, *(f" {line}" for line in lines), ""])


def texts(sections: Sections) -> dict[str, str]:
    return {name: text for name in NAMES if (text := getattr(sections, name))}


def test_a_report_of_the_newer_template_gives_all_its_sections() -> None:
    parsed = parse_report(
        report(
            "EXAMINATION:  CHEST (PA AND LAT)",
            "",
            "INDICATION:  ___ year old man with cough  // pneumonia?",
            "",
            "TECHNIQUE:  Two views.",
            "",
            "COMPARISON:  ___.",
            "",
            "FINDINGS: ",
            "",
            "Lungs clear at ___,",
            "no effusion.",
            "",
            "IMPRESSION: ",
            "",
            "1.  Nothing acute.",
        )
    )
    assert parsed == Sections(
        examination="CHEST (PA AND LAT)",
        indication="___ year old man with cough // pneumonia?",
        technique="Two views.",
        comparison="",
        findings="Lungs clear at ___, no effusion.",
        impression="1. Nothing acute.",
    )


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        (
            Kind.FINDINGS,
            "FINDINGS|FINDING|Findings|FINDINGS |CHEST FINDINGS|FINDINGS (CHEST)|OBSERVATIONS"
            "|FINDIGNS|FINIDNGS|FINDNGS|FINDINGGS|FINDIMGS|INDINGS|LUNG FINDINGS|**FINDINGS**",
        ),
        (
            Kind.COMBINED,
            "FINDINGS AND IMPRESSION|FINDINGS/IMPRESSION|FINDINGS/ IMPRESSION|FINDINGS & IMPRESSION"
            "|IMPRESSION AND FINDINGS|FINDINGS/CONCLUSION|Findings/Impression",
        ),
        (
            Kind.IMPRESSION,
            "IMPRESSION|Impression|IMPRESSIONS|CONCLUSION|OPINION|INTERPRETATION|IMPRESION|IMPRESSON"
            "|IMPERSSION|IMPRESSOIN|MPRESSION|IMOPRESSION|CONCUSION|SUMMARY|FINAL IMPRESSION"
            "|IMP|IMPR|Imp|CONCL|DIAGNOSIS"
            "|IMPRESSION AND RECOMMENDATION(S)",
        ),
        (
            Kind.INDICATION,
            "INDICATION|Indication|INDICATIONS|CLINICAL INDICATION|HISTORY|CLINICAL HISTORY"
            "|PATIENT HISTORY|CLINICAL INFORMATION|REASON FOR EXAM|REASON FOR EXAMINATION"
            "|REASON FOR THIS EXAMINATION|Reason for exam|NDICATION|IDICATION|INDICATION FOR STUDY"
            "|CLINICAL INFORMATION & QUESTIONS TO BE ANSWERED",
        ),
        (
            Kind.COMPARISON,
            "COMPARISON|COMPARISONS|Comparison|COMPARISON(S)|COMPARED TO|COMPARISON FILM|COMPARSION"
            "|COMPARISION|REFERENCE EXAM|PRIOR STUDY|PREVIOUS FINDINGS",
        ),
        (Kind.TECHNIQUE, "TECHNIQUE|Technique|TECHINQUE|PROCEDURE"),
        (Kind.EXAMINATION, "EXAMINATION|EXAM|TYPE OF EXAMINATION|STUDY|EXAMINATON"),
        (
            Kind.VIEW,
            "CHEST, PA AND LATERAL|CHEST, TWO VIEWS|PORTABLE AP CHEST RADIOGRAPH|PORTABLE CHEST"
            "|CHEST|SINGLE AP PORTABLE CHEST VIEW|FRONTAL AND LATERAL VIEWS OF THE CHEST"
            "|CHEST (PA & LAT)|AP CHEST, ___ AT 8:30 A.M.|RIGHT RIBS, FOUR VIEWS"
            "|SEMI-UPRIGHT PORTABLE CHEST X-RAY|AP",
        ),
        (
            Kind.PRELIMINARY,
            "WET READ|WETREAD|WET READING|WET ___|PROVISIONAL FINDINGS IMPRESSION (PFI)|PFI"
            "|PRELIMINARY FINDINGS|Wet read|WET READ VERSION #1",
        ),
        (Kind.ADDENDUM, "ADDENDUM|FINAL ADDENDUM|*****ADDENDUM*****|ADDENDUM #2|Addendum|ADENDUM"),
        (
            Kind.OTHER,
            "NOTIFICATION|RECOMMENDATION(S)|Recommendation(s)|RECOMENDATION"
            "|NOTIFICATION OF FINDINGS|COMMUNICATION OF CRITICAL FINDINGS|CT CHEST|NOTE|COMMENT"
            "|DATE|DICTATED BY|FLUOROSCOPY TIME|READ BY|ATTENDING RADIOLOGIST|SIGNED",
        ),
        (
            Kind.UNKNOWN,
            "SWAN-GANZ|WHOLLY UNKNOWN|PRIOR SURGERY|STUDY QUALITY|EXAM LIMITATIONS|DIAPHRAGMATIC",
        ),
        (
            Kind.PART,
            "LUNGS|HEART|SUPPORT DEVICES|LINES AND TUBES|BONES AND SOFT TISSUES|CHEST TUBE"
            "|CARDIOMEDIASTINAL SILHOUETTE|MEDIASTINAL CONTOURS|HILAR CONTOURS"
            "|PULMONARY VASCULARITY|COSTOPHRENIC ANGLES|LUNG PARENCHYMA|AIRSPACES|MUSCULOSKELETAL"
            "|HEMIDIAPHRAGMS|CLAVICLES|STERNOTOMY WIRES|CHEST DRAIN",
        ),
        (
            None,
            "Compared to ___|Tube|size|Chest|Lungs|Note|The findings are these"
            "|CABG|COPD|PM|___|A|Exam|IN THE INTERVAL THERE HAS BEEN NO CHANGE IN FINDINGS",
        ),
    ],
)
def test_a_header_opens_what_it_says_in_each_of_its_spellings(
    kind: Kind | None, headers: str
) -> None:
    assert {header: classify(header) for header in headers.split("|")} == dict.fromkeys(
        headers.split("|"), kind
    )


@pytest.mark.parametrize(
    "header",
    [
        "FINDINGS: Clear lungs.",
        "FINDINGS:Clear lungs.",
        "FINDINGS :  Clear lungs.",
        "FINDINGS:: Clear lungs.",
        "FINDINGS; Clear lungs.",
        "FINDINGS Clear lungs.",
        "FINDINGS\n Clear lungs.",
        "FINDINGS.\n Clear lungs.",
        "FINDINGS. Clear lungs.",
        "FINDINGS - Clear lungs.",
        "FINDINGS- Clear lungs.",
        "**FINDINGS:** Clear lungs.",
        "Findings: Clear lungs.",
        "Findings :\n\n Clear lungs.",
        "___. FINDINGS: Clear lungs.",
        "** FINDINGS: Clear lungs.",
        "\tFINDINGS:\tClear lungs.",
        "FINDINGS (two views): Clear lungs.",
        "FINDINGS: CHEST, PA AND LATERAL: Clear lungs.",
        "FINDINGS: CHEST: AP: Clear lungs.",
        "FINDINGS:\n \n PORTABLE CHEST, 8:30 A.M.:\n Clear lungs.",
        "CHEST, PA AND LATERAL: Clear lungs.",
        "PORTABLE AP CHEST RADIOGRAPH, ___:  Clear lungs.",
        "FINDINGS/IMPRESSION: Clear lungs.",
    ],
)
def test_findings_are_found_however_their_header_is_set(header: str) -> None:
    parsed = parse_report(report("INDICATION: Cough.", "", header))
    assert texts(parsed) == {"indication": "Cough.", "findings": "Clear lungs."}


@pytest.mark.parametrize(
    "line",
    [
        "Compared to ___: no change.",
        "size: 3 cm.",
        "Tube: tip low.",
        "findings: as above.",
        "Comparison: none at hand.",
        "HEART: normal.",
        "LINES AND TUBES: none.",
        "RIGHT RIBS, TWO VIEWS: intact.",
        "OTHER: none.",
        "CARDIOMEDIASTINAL SILHOUETTE: normal.",
        "CABG: known.",
        "FINDINGS of note: none.",
        "SEEN AT 8:30 AND AT 10:45 TODAY.",
        "___: unchanged.",
        "___ ___ ___",
        "MORE HTTP://X.Y here.",
        "final report to follow.",
    ],
)
def test_a_line_of_the_findings_that_looks_like_a_header_stays_in_them(line: str) -> None:
    parsed = parse_report(report("FINDINGS: Clear", line, "End.", "IMPRESSION: Fine."))
    assert texts(parsed) == {"findings": f"Clear {line} End.", "impression": "Fine."}


def test_a_signature_ends_findings_and_is_counted() -> None:
    parsed = parse_report(report("FINDINGS: Clear.", "DICTATED BY: ___ of ours.", "Signed."))
    assert texts(parsed) == {"findings": "Clear."}
    assert parsed.decisions == {Decision.OTHER_SECTION}


def test_an_unknown_label_ends_a_section_that_is_no_findings() -> None:
    parsed = parse_report(report("INDICATION: Cough.", "SMOKING: Never.", "FINDINGS: Clear."))
    assert texts(parsed) == {"indication": "Cough.", "findings": "Clear."}
    assert parsed.decisions == {Decision.OTHER_SECTION}


def test_mixed_case_headers_part_a_report_that_has_no_others() -> None:
    parsed = parse_report(
        report("Indication: Cough.", "Findings: Clear.", "Comparison: ___, CT.", "Impression: Ok.")
    )
    assert texts(parsed) == {
        "indication": "Cough.",
        "findings": "Clear.",
        "comparison": "___, CT.",
        "impression": "Ok.",
    }


@pytest.mark.parametrize("context", ["Cough.", "Tube?", "Seen ___", "Seen ___."])
def test_results_behind_a_sentence_on_its_line_do_not_become_context(context: str) -> None:
    parsed = parse_report(report(f"INDICATION: {context}  FINDINGS: Clear. IMPRESSION: Fine."))
    assert texts(parsed) == {"indication": context, "findings": "Clear.", "impression": "Fine."}


def test_small_headers_part_a_report_that_has_no_others() -> None:
    parsed = parse_report(
        report("indication: cough.", "comparison: ___, CT.", "findings: Clear.", "impression: Ok.")
    )
    assert texts(parsed) == {
        "indication": "cough.",
        "comparison": "___, CT.",
        "findings": "Clear.",
        "impression": "Ok.",
    }


def test_one_small_word_before_a_colon_makes_no_section_of_unheaded_text() -> None:
    parsed = parse_report(report("The tube is low, and we see two", "findings: it is bent."))
    assert texts(parsed) == {}
    assert Decision.NO_HEADERS in parsed.decisions


def test_several_findings_are_joined_in_their_order_and_equal_ones_stand_once() -> None:
    parsed = parse_report(
        report("FINDINGS: One.", "IMPRESSION: I.", "FINDINGS:", "FINDING: Two.", "FINDINGS: One.")
    )
    assert parsed.findings == "One. Two."
    assert parsed.decisions == {Decision.SEVERAL_FINDINGS}


@pytest.mark.parametrize(
    "pointer",
    ["See impression.", "Please see impression below.", "refer to the IMPRESSION section"],
)
def test_findings_that_only_point_to_the_impression_are_none(pointer: str) -> None:
    parsed = parse_report(report(f"FINDINGS: {pointer}", "IMPRESSION: Clear."))
    assert texts(parsed) == {"impression": "Clear."}
    assert parsed.decisions == {Decision.POINTER}
    kept = parse_report(report(f"FINDINGS: Small effusion. {pointer}", "IMPRESSION: Effusion."))
    assert kept.findings == f"Small effusion. {pointer}"


def test_sections_that_repeat_each_other_are_one() -> None:
    parsed = parse_report(
        report(
            "HISTORY: Fall.",
            "INDICATION: Fall.",
            "FINDINGS: One.",
            "FINDINGS: PORTABLE CHEST: One.",
            "IMPRESSION: I.",
            "CONCLUSION: I.",
        )
    )
    assert texts(parsed) == {"indication": "Fall.", "findings": "One.", "impression": "I."}
    assert not parsed.decisions


def test_all_exams_of_a_report_without_findings_header_are_its_findings() -> None:
    parsed = parse_report(
        report(
            "HISTORY: Fall.", "CHEST, PA AND LATERAL:  Clear.", "RIGHT RIBS, FOUR VIEWS: Intact."
        )
    )
    assert texts(parsed) == {"indication": "Fall.", "findings": "Clear. Intact."}
    assert parsed.decisions == {Decision.SEVERAL_FINDINGS, Decision.VIEW_HEADER}


def test_the_exams_name_as_a_title_is_no_findings_beside_true_ones() -> None:
    parsed = parse_report(
        report("CHEST, TWO VIEWS: As ordered.", "", "HISTORY: Fall.", "", "FINDINGS: Clear.")
    )
    assert texts(parsed) == {"indication": "Fall.", "findings": "Clear."}
    assert not parsed.decisions
    combined = parse_report(report("CHEST, TWO VIEWS: As ordered.", "FINDINGS/IMPRESSION: Clear."))
    assert texts(combined) == {"findings": "Clear."}


def test_findings_and_impression_under_one_header_are_findings() -> None:
    parsed = parse_report(report("FINDINGS AND IMPRESSION: Clear."))
    assert texts(parsed) == {"findings": "Clear."}
    assert parsed.decisions == {Decision.COMBINED}


def test_a_combined_section_beside_findings_is_the_impression() -> None:
    parsed = parse_report(report("FINDINGS: Clear.", "FINDINGS/IMPRESSION: Fine."))
    assert texts(parsed) == {"findings": "Clear.", "impression": "Fine."}


@pytest.mark.parametrize("empty", ["", "___", "___.", " ___ ___, ___ ", "1.", "--", ": ___ : "])
def test_a_section_without_a_letter_is_empty(empty: str) -> None:
    parsed = parse_report(
        report(f"COMPARISON: {empty}", "FINDINGS:", f" {empty}", "IMPRESSION: A.")
    )
    assert texts(parsed) == {"impression": "A."}


def test_history_and_reason_for_exam_are_indications_in_their_order() -> None:
    parsed = parse_report(report("HISTORY: Fall.", "REASON FOR EXAM (RULE OUT FRACTURE): Pain."))
    assert parsed.indication == "Fall. Pain."


@pytest.mark.parametrize(
    "top",
    [
        "WET READ: ___ ___ ___ 9:14 AM\n  Wet words.",
        "WET READ: ___\n FINDINGS: Wet words.\n IMPRESSION: Wet.",
        "WET ___: ___\n FINDINGS: Wet words.",
        "WET READ VERSION #1 ___ ___\n FINDINGS: Wet words.",
        "PROVISIONAL FINDINGS IMPRESSION (PFI):  Wet words.",
        "FINAL ADDENDUM\n FINDINGS: Added words.\n IMPRESSION: Added.",
        "ADDENDUM  By Dr. ___ on ___:\n FINDINGS:\n Added words.",
        "***ADDENDUM***\n Added words.\n\n COMPARISON: Added.",
    ],
)
@pytest.mark.parametrize(
    "delimiter",
    [f"{RULE}\n{TITLE}\n", f"{TITLE}\n", f"{RULE}\n", f"{RULE}\n \n {TITLE} (REVISED)\n"],
)
def test_what_stands_above_the_final_report_is_not_the_report(top: str, delimiter: str) -> None:
    text = f" {top}\n{delimiter} COMPARISON: CT.\n\n FINDINGS: Clear.\n"
    for begun in (text, f"{TITLE}\n{text}"):
        parsed = parse_report(begun)
        assert texts(parsed) == {"comparison": "CT.", "findings": "Clear."}
        known = Decision.ADDENDUM if "ADDENDUM" in top else Decision.PRELIMINARY
        assert parsed.decisions == {known}


def test_of_several_final_reports_the_last_with_results_counts() -> None:
    first, second = report("FINDINGS: Old."), report("FINDINGS: New.")
    for last in (report("NOTIFICATION: Called."), report("Signed."), ""):
        parsed = parse_report(first + second + last)
        assert texts(parsed) == {"findings": "New."}
    without = parse_report(report("INDICATION: Cough.") + report("Signed."))
    assert texts(without) == {"indication": "Cough."}


@pytest.mark.parametrize("delimiter", ["", f"{RULE}\n", f"{TITLE}\n"])
def test_an_addendum_below_the_report_is_not_used_whatever_headers_it_has(delimiter: str) -> None:
    below = f"{delimiter} ADDENDUM: Added.\n FINDINGS: Added words.\n IMPRESSION: Added.\n"
    parsed = parse_report(report("FINDINGS: Clear.", "IMPRESSION: Fine.") + below)
    assert texts(parsed) == {"findings": "Clear.", "impression": "Fine."}


def test_a_wet_read_that_nothing_parts_from_the_report_ends_at_the_next_header() -> None:
    parsed = parse_report(" WET READ: ___\n Wet words.\n\n INDICATION: Cough.\n FINDINGS: Clear.\n")
    assert texts(parsed) == {"indication": "Cough.", "findings": "Clear."}


def test_a_wet_read_above_a_report_without_headers_gives_no_findings() -> None:
    parsed = parse_report(
        f" WET READ: ___\n FINDINGS: Wet words.\n{RULE}\n{TITLE}\n The lungs are clear.\n"
    )
    assert texts(parsed) == {}


def test_the_last_paragraph_is_never_taken_for_findings_nor_shown_as_context() -> None:
    parsed = parse_report(
        report(
            "INDICATION: Cough",
            "for a week.",
            "",
            "COMPARISON:",
            "",
            "___, CT.",
            "",
            "In the interval the left lung has become wholly opaque.",
        )
    )
    assert texts(parsed) == {"indication": "Cough for a week.", "comparison": "___, CT."}
    assert parsed.decisions == {Decision.UNHEADED_TEXT}


def test_with_findings_a_context_of_two_paragraphs_is_kept_whole() -> None:
    parsed = parse_report(report("INDICATION: Cough.", "", "Fever.", "", "FINDINGS: Clear."))
    assert parsed.indication == "Cough. Fever."


@pytest.mark.parametrize(
    ("text", "decisions"),
    [
        ("", {Decision.NO_HEADERS}),
        (report("Clear lungs."), {Decision.NO_HEADERS}),
        (
            report("The lungs are clear and the heart is of normal size."),
            {Decision.NO_HEADERS, Decision.UNHEADED_TEXT},
        ),
        (report("IMPRESSION: Fine."), set()),
        (report("INDICATION: A cough that has not gone away for some weeks."), set()),
        (report("PORTABLE CHEST OF ___", "", "IMPRESSION: Fine."), set()),
        (report("NOTIFICATION: Called.", "", "The lungs are clear and the heart is normal."),
         {Decision.UNHEADED_TEXT}),
    ],
)  # fmt: skip
def test_a_report_without_findings_says_what_it_has_instead(
    text: str, decisions: set[Decision]
) -> None:
    parsed = parse_report(text)
    assert not parsed.findings
    assert parsed.decisions == decisions


SPELLINGS = {
    "findings": ["FINDINGS:", "FINDING:", "FINDINGS :", "FINDIGNS:", "CHEST FINDINGS:"],
    "impression": ["IMPRESSION:", "CONCLUSION:", "IMPRESION:", "OPINION:", "Impression:"],
    "indication": [
        "INDICATION:",
        "HISTORY:",
        "CLINICAL HISTORY:",
        "REASON FOR EXAM:",
        "NDICATION:",
    ],
    "technique": ["TECHNIQUE:", "PROCEDURE:", "TECHINQUE:"],
    "comparison": ["COMPARISON:", "COMPARISONS:", "COMPARED TO:", "COMPARISION:"],
    "examination": ["EXAMINATION:", "EXAM:", "STUDY:", "TYPE OF EXAMINATION:"],
    "": ["NOTIFICATION:", "RECOMMENDATION(S):", "PFI:", "DATE:"],
}
TRAPS = ["___", "___,", "Compared to ___:", "size: 3 cm", "Tube:", "LUNGS:", "CABG:", "8:30", "//"]
GAPS = [" ", "  ", "\n ", "\n", "\t", " \n  "]
ASIDES = [
    "",
    f" WET READ: ___\n FINDINGS: wet words\n{RULE}\n",
    f" ADDENDUM\n added words\n{RULE}\n",
]


@dataclass(frozen=True)
class Part:
    name: str
    header: str
    words: list[str]
    gaps: list[str]

    def render(self) -> str:
        body = "".join(gap + word for gap, word in zip(self.gaps, self.words, strict=True))
        return f" {self.header}{body}"


@st.composite
def parts(draw: st.DrawFn) -> list[Part]:
    """Sections in any order, some of them several times; each holds a word that no other has."""
    numbers = count()
    drawn = []
    for name in draw(st.lists(st.sampled_from(sorted(SPELLINGS)), max_size=8)):
        words = [f"Word{next(numbers)}.", *draw(st.lists(st.sampled_from(TRAPS), max_size=6))]
        gaps = draw(st.lists(st.sampled_from(GAPS), min_size=len(words), max_size=len(words)))
        drawn.append(Part(name, draw(st.sampled_from(SPELLINGS[name])), words, gaps))
    return drawn


def without_labels_that_take_findings_up_again(drawn: list[Part]) -> list[Part]:
    """Put another word for LUNGS: behind findings; see test_sub_headings.py for what it does."""
    last = ""
    put = []
    for part in drawn:
        last = part.name if part.name in ("findings", "impression") else last
        if last == "findings" != part.name:
            part = replace(part, words=[word.replace("LUNGS:", "//") for word in part.words])
        put.append(part)
    return put


@pytest.mark.slow
@given(
    drawn=parts().map(without_labels_that_take_findings_up_again),
    top=st.sampled_from(ASIDES),
    between=st.sampled_from(["\n", "\n\n", "\n \n", "\n\n\n"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_report_comes_back_as_the_sections_it_was_made_of(
    drawn: list[Part], top: str, between: str, line_end: str
) -> None:
    text = f"{top}{TITLE}\n{between.join(part.render() for part in drawn)}\n"
    # "PFI:" below findings reaches to the end of the report, by rule 1.
    results = [k for k, part in enumerate(drawn) if part.name in ("findings", "impression")]
    ends = [
        k for k, part in enumerate(drawn) if part.header == "PFI:" and k > min(results, default=k)
    ]
    expected: dict[str, list[str]] = {}
    for part in drawn[: min(ends, default=None)]:
        expected.setdefault(part.name, []).extend(" ".join(part.words).split())
    expected.pop("", None)

    parsed = parse_report(text.replace("\n", line_end))
    assert texts(parsed) == {name: " ".join(words) for name, words in expected.items()}
    assert (Decision.NO_HEADERS in parsed.decisions) == (not top and not drawn)
    assert (Decision.ADDENDUM in parsed.decisions) == ("ADDENDUM" in top)


FRAGMENTS = [
    *(header for headers in SPELLINGS.values() for header in headers), *TRAPS, *GAPS, RULE, TITLE,
    "WET READ", "ADDENDUM", "CHEST, PA AND LATERAL:", "FINDINGS/IMPRESSION:", "Findings:", "\n\n",
    "FINDINGS", "IMPRESSION Word", "clear", ":", ";", ".", "\r", "\x0b", "\u2028", "\xa0", "\ufeff",
]  # fmt: skip
ANY_TEXT = st.text() | st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3)).map("".join)


@pytest.mark.slow
@given(ANY_TEXT)
def test_any_text_has_sections_made_of_its_own_letters_in_order(text: str) -> None:
    for section in texts(parse_report(text)).values():
        letters = iter(text)
        assert all(letter in letters for letter in section if not letter.isspace())
        assert section == " ".join(section.split())


@pytest.mark.slow
@given(ANY_TEXT)
def test_sections_written_out_as_a_report_are_read_again_as_they_were(text: str) -> None:
    once = texts(parse_report(text))
    written = report(*(f"{name.upper()}: {section}\n" for name, section in once.items()))
    assert texts(parse_report(written)) == once


@pytest.mark.slow
@pytest.mark.timeout(5)  # a quadratic parse would take far longer
@pytest.mark.parametrize(
    "unit",
    [
        "_",
        " ",
        "A",
        ".",
        "A.M",
        "8:30",
        "\n",
        " \n",
        "*",
        "(",
        "FINDINGS",
        "FINDINGS:",
        "A ",
        "FINDINGS: ",
        "a. FINDINGS: ",
        "findings: ",
    ],
)
def test_time_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    parse_report(unit * 40_000)
    parse_report(f"FINDINGS: {unit * 40_000}:")
    parse_report(f"{TITLE} ({unit * 40_000}")


def test_the_example_in_the_true_layout_is_read() -> None:
    folder = shared_data() / "layouts" / "mimic_cxr_jpg" / "files"
    path = next(folder.glob("p*/p*/s*.txt"))
    parsed = parse_report(path.read_text())
    assert texts(parsed).keys() == {
        "examination", "indication", "technique", "findings", "impression"
    }  # fmt: skip
    assert len(parsed.findings.split()) == 44
    assert not parsed.decisions


@pytest.mark.slow
def test_real_sections_come_back_from_reports_assembled_of_them() -> None:
    reports = read_reports(shared_data() / "iu_xray" / "NLMCXR_reports.tgz", None)
    assert len(reports) == 3955
    wrong, with_headers = [], 0
    for number, source in enumerate(reports):
        given_ = {
            name: text.replace("XXXX", "___")
            for name in ("indication", "comparison", "findings", "impression")
            if re.search("[A-Za-z]", (text := getattr(source, name)).replace("XXXX", ""))
        }
        if any(re.search("[A-Z]{7} ?:", text) for text in given_.values()):
            with_headers += (
                1  # headers within a section, which may come to stand at a line's beginning
            )
            continue
        lines = [
            textwrap.fill(
                f"{SPELLINGS[name][number % len(SPELLINGS[name])]}  {text}",
                width=80,
                initial_indent=" ",
                subsequent_indent=" ",
                break_on_hyphens=False,
            )
            for name, text in given_.items()
        ]
        made = "\n \n".join([ASIDES[number % 3] + TITLE, *lines])
        expected = {name: " ".join(text.split()) for name, text in given_.items()}
        if texts(parse_report(made)) != expected:
            wrong.append(source.uid)
    assert not wrong
    assert with_headers == 12
