"""ReXrank's prediction files: what is scored on each track, and whose prediction a case gets."""

import json
from pathlib import Path
from typing import Any

import pytest

from editgrpo.cli import main
from editgrpo.errors import DataError
from editgrpo.evaluation.predictions import read_predictions, write_predictions
from editgrpo.evaluation.rexrank import SCORED_FILE, SUBMISSION_FILE, read_cases, write_rexrank
from editgrpo.evaluation.rexrank_texts import RexrankTrack, model_prediction, reference_text
from editgrpo.evaluation.types import Prediction

FINDINGS, REPORTS = RexrankTrack
CASE = {"section_findings": "Clear lungs.", "section_impression": "Normal."}
WHOLE = "Findings: Clear lungs. Impression: Normal."


def prediction(study_id: str, text: str = "Clear.") -> Prediction:
    return Prediction(study_id=study_id, prediction=text, reference="Ours.", patient_id="p")


@pytest.mark.parametrize(
    ("case", "track", "expected"),
    [
        (CASE, FINDINGS, "Findings: Clear lungs."),
        (CASE, REPORTS, WHOLE),
        # What the file joins itself counts, but for the track of findings.
        ({**CASE, "report": "Findings: A. Impression: B."}, REPORTS, "Findings: A. Impression: B."),
        ({**CASE, "report": "Findings: A. Impression: B."}, FINDINGS, "Findings: Clear lungs."),
        ({**CASE, "section_impression": None}, REPORTS, "Findings: Clear lungs."),
        ({**CASE, "section_findings": float("nan")}, REPORTS, "Impression: Normal."),
        ({**CASE, "section_findings": float("nan")}, FINDINGS, ""),
    ],
)
def test_the_reference_of_a_track(case: dict[str, Any], track: RexrankTrack, expected: str) -> None:
    assert reference_text(case, track) == expected


@pytest.mark.parametrize(
    ("text", "track", "expected"),
    [
        (" Clear lungs.\n", FINDINGS, "Findings: Clear lungs."),
        (WHOLE, FINDINGS, "Findings: Clear lungs."),
        (WHOLE, REPORTS, WHOLE),
        ("Clear lungs. Impression: Normal.", REPORTS, WHOLE),
        ("", FINDINGS, "Findings:"),
    ],
)
def test_the_prediction_of_a_track(text: str, track: RexrankTrack, expected: str) -> None:
    assert model_prediction(text, track) == expected


def test_findings_alone_are_no_report() -> None:
    with pytest.raises(DataError, match="has no 'Impression:'; take the track findings") as caught:
        model_prediction("Cardiomegaly.", REPORTS)
    assert "Cardiomegaly" not in str(caught.value)


def write_cases(path: Path, cases: dict[str, Any]) -> Path:
    path.write_text(json.dumps(cases))  # NaN as their files have it
    return path


def test_a_submission_is_their_file_with_predictions_and_can_be_scored(tmp_path: Path) -> None:
    cases = {
        "CXR7_IM-2263": {**CASE, "image_path": ["CXR7_IM-2263/0.png"], "age": float("nan")},
        "p10046166_s50051329": {**CASE, "section_findings": None},
        "case": CASE,
    }
    found = read_cases(write_cases(tmp_path / "cases.json", cases))
    predictions = [
        prediction(name, f"Report {name}.") for name in ("case", "CXR7", "50051329", "other")
    ]
    summary = write_rexrank(tmp_path / "out", predictions, found, FINDINGS)
    assert (summary.cases, summary.unscored, summary.unused) == (3, 1, 1)
    written = json.loads(
        (tmp_path / "out" / SUBMISSION_FILE).read_text(), parse_constant=pytest.fail
    )
    assert list(written) == list(cases)
    assert written["CXR7_IM-2263"] == {
        **CASE,
        "image_path": ["CXR7_IM-2263/0.png"],
        "age": None,
        "model_prediction": "Findings: Report CXR7.",
    }
    assert written["p10046166_s50051329"]["model_prediction"] == "Findings: Report 50051329."
    scored = read_predictions(tmp_path / "out" / SCORED_FILE)
    assert [(one.study_id, one.prediction, one.reference) for one in scored] == [
        ("CXR7_IM-2263", "Findings: Report CXR7.", "Findings: Clear lungs."),
        ("case", "Findings: Report case.", "Findings: Clear lungs."),
    ]
    assert {one.patient_id for one in scored} == {"p"}


def test_a_part_that_two_cases_share_names_neither(tmp_path: Path) -> None:
    found = {"patient1_study1": CASE, "patient1_study2": CASE}
    with pytest.raises(DataError, match=r"case 'patient1_study2' has no .* \(in all 1 of 2\)"):
        write_rexrank(tmp_path, [prediction("patient1"), prediction("study1")], found, FINDINGS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "not a JSON object; give a file of cases"),
        ("{}", "holds no case"),
        ('{"a": {"findings": "x"}}', "case 'a' has no section_findings"),
        ("{", "cannot be read"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "cases.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_cases(path)


def test_the_command_writes_both_and_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = write_cases(tmp_path / "cases.json", {"CXR7_IM-2263": CASE})
    predictions = tmp_path / "predictions.jsonl"
    write_predictions(predictions, [prediction("CXR7")])
    words = ["rexrank", str(predictions), str(cases), "--output", str(tmp_path / "out")]
    for code, shown in ((0, "Cases: 1; predictions of other studies: 0"), (2, "--overwrite")):
        with pytest.raises(SystemExit) as stop:
            main(words)
        said = capsys.readouterr()
        assert (stop.value.code, shown in said.out + said.err) == (code, True)


def test_the_command_names_the_case_that_is_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = write_cases(tmp_path / "cases.json", {"CXR7_IM-2263": CASE})
    predictions = tmp_path / "predictions.jsonl"
    write_predictions(predictions, [prediction("CXR7", "Secret finding.")])
    words = ["rexrank", str(predictions), str(cases), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        main([*words, "--track", "reports"])
    said = capsys.readouterr().err
    assert "case 'CXR7_IM-2263': its prediction has no 'Impression:'" in said
    assert "Secret" not in said
