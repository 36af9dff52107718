"""One answer to "is there a report?", whatever the source."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.mimic_tree import write_tree

from editgrpo.data.folder import TableSource
from editgrpo.data.folder.preparation import read_folder
from editgrpo.data.given_values import has_text, is_given, is_identifier, only_points, section_text
from editgrpo.data.iu_xray.reports import IUReport, read_reports
from editgrpo.data.mimic_cxr import MimicCXRSource, read_mimic_cxr
from editgrpo.data.padchest_gr import PadChestGRSource, read_padchest_gr
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.rexgradient import ReXGradientSource, read_rexgradient
from editgrpo.data.study import Split, Study
from tests.data.trees import mimic, padchest_gr, rexgradient

STAND_INS = [
    "nan", "NaN", "None", "none.", "NONE", "N/A", "n/a.", "NA", "null", "<NA>", "#N/A", "\\N",
    "Not available.", "not provided", "Not yet dictated.", "Not applicable", "Unavailable",
    "None available.", "None given.", "No report.", "No report available at this time.",
    "Findings: none.", "The report is not available.", "No findings were reported.",
    "XXXX.", "XXXX, XXXX.", "___", "___.", "Please", "please.", "Pending", ".", "-", "--", "?", " ",
]  # fmt: skip
POINTERS = [
    "As above.", "See below.", "As per impression.", "See impression for details.",
    "Please see impression.", "Refer to the impression below", "Same as above",
    "As described above.",     "Findings as above.", "See IMPRESSION section.",
    "Please refer to the impression for findings.",
    "Per impression.", "As noted in the impression.", "See CT report of the same day.",
    "Please see separately dictated report.", "See full report below.", "Above.",
    "As stated in the conclusion.", "See addendum.",
]  # fmt: skip
REPORTS = [
    "Normal.", "Unremarkable.", "Clear.", "No change.", "Unchanged.", "Negative.", "No findings.",
    "No effusion, please correlate.", "Stable as above.", "Effusion as described above.",
    "None of the lines has moved.", "No acute findings.", "See the nodule in the left lung.",
    "XXXX lungs are clear.", "Not enlarged.", "No pneumothorax is available to the eye.",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("text", [*STAND_INS, *POINTERS])
def test_a_stand_in_and_a_pointer_are_no_findings(text: str) -> None:
    assert section_text(text, "findings") == section_text(f" {text}\n", "impression") == ""


@pytest.mark.parametrize("text", STAND_INS)
def test_a_stand_in_is_no_context(text: str) -> None:
    assert section_text(text, "indication") == section_text(text, "technique") == ""


@pytest.mark.parametrize("text", REPORTS)
def test_a_report_however_short_is_one(text: str) -> None:
    assert section_text(text, "findings") == text


@pytest.mark.parametrize("text", ["None.", "None", "None available.", "No comparison available."])
def test_no_earlier_study_is_something_that_a_comparison_says(text: str) -> None:
    assert section_text(text, "comparison") == text
    assert section_text("Not available.", "comparison") == section_text("XXXX.", "comparison") == ""


def test_pointing_words_are_context_where_nothing_is_described() -> None:
    assert section_text("Same day CT, see above.", "comparison") == "Same day CT, see above."
    assert only_points("See above") and not only_points("Same")
    assert not only_points("See above " * 30)


def test_ids_and_cells_have_their_own_questions() -> None:
    assert is_identifier("unknown") and not is_given("unknown")
    assert not is_identifier("nan") and not is_identifier("#N/A") and not is_identifier("\\N")
    assert has_text("?1") and not has_text("? ___")


def of_mimic(root: Path, findings: str, indication: str) -> Study:
    report = f" INDICATION: {indication}\n FINDINGS: {findings}\n IMPRESSION: Effusion.\n"
    write_tree(root, [mimic.study("10000011", "50000010", mimic.PA, report=report)])
    return read_mimic_cxr(MimicCXRSource(root=root)).studies[0]


def of_rexgradient(root: Path, findings: str, indication: str) -> Study:
    fields = {"Findings": findings, "Indication": indication, "Impression": "Effusion."}
    tree = rexgradient.build(root, {"train": dict([rexgradient.entry("A", "1", **fields)])})
    source = ReXGradientSource(root=tree, splits=(Split.TRAIN,))
    return read_rexgradient(source).studies[0]


def of_padchest(root: Path, findings: str, indication: str) -> Study:
    sentence = padchest_gr.normal(findings, findings)
    reports = [padchest_gr.report("101", "101_aaa.png", sentence)]
    rows = [padchest_gr.row("101", "101_aaa.png", "train", "11", "20100101")]
    tree = padchest_gr.build(root, reports, rows, draw=padchest_gr.draw_film)
    return read_padchest_gr(PadChestGRSource(root=tree)).studies[0]


def of_folder(root: Path, findings: str, indication: str) -> Study:
    root.mkdir()
    row = {"study": "1", "text": findings, "why": indication}
    (root / "table.jsonl").write_text(json.dumps(row))
    columns = {"study_id": "study", "findings": "text", "indication": "why"}
    source = TableSource(table=root / "table.jsonl", columns=columns)
    return read_folder(source, ReadOptions(require_images=False)).studies[0]


def of_iu_xml(root: Path, findings: str, indication: str) -> IUReport:
    root.mkdir()
    texts = {"FINDINGS": findings, "INDICATION": indication, "IMPRESSION": "Effusion."}
    parts = "".join(
        f'<AbstractText Label="{label}">{text.replace("<", "&lt;")}</AbstractText>'
        for label, text in texts.items()
    )
    (root / "1.xml").write_text(f'<eCitation><uId id="CXR1"/>{parts}</eCitation>')
    return read_reports(root, None)[0]


def of_iu_csv(root: Path, findings: str, indication: str) -> IUReport:
    root.mkdir()
    header = "uid,image,indication,comparison,findings,impression"
    table = root / "indiana_reports.csv"
    table.write_text(f'{header}\n1,x,"{indication}",,"{findings}",Effusion.\n')
    (root / "projections.csv").write_text("uid,filename,projection\n1,1_a.dcm.png,Frontal\n")
    return read_reports(table, root / "projections.csv")[0]


# One of each kind: of a table, with a mark that a format reads, with words, blanked out, a pointer.
OF_EACH_KIND = [
    "nan", "<NA>", "#N/A", "\\N", "None available.", "Findings: none.", "XXXX, XXXX.", "___.",
    "Please", "?", POINTERS[0],
]  # fmt: skip
SOURCES = [of_mimic, of_rexgradient, of_padchest, of_folder, of_iu_xml, of_iu_csv]


@pytest.mark.parametrize("read", SOURCES)
@pytest.mark.parametrize("text", OF_EACH_KIND)
def test_every_source_gives_the_same_answer(
    tmp_path: Path, read: Callable[[Path, str, str], Study | IUReport], text: str
) -> None:
    study = read(tmp_path / "root", text, text if text in STAND_INS else "Cough.")
    assert study.findings == ""
    # PadChest-GR has no indication.
    assert study.indication == ("" if text in STAND_INS or read is of_padchest else "Cough.")


@pytest.mark.parametrize("read", SOURCES)
def test_every_source_keeps_a_report(
    tmp_path: Path, read: Callable[[Path, str, str], Study | IUReport]
) -> None:
    assert read(tmp_path / "root", "Lungs are clear.", "N/A now.").findings == "Lungs are clear."
