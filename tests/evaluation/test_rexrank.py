"""ReXrank's prediction files: what is scored on each track, and whose prediction a case gets."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editgrpo.cli import main
from editgrpo.config import Target
from editgrpo.data.folder import TableSource
from editgrpo.data.prepare import Inclusion, PrepareOptions
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.sources import prepare
from editgrpo.data.study import Split, View
from editgrpo.errors import DataError
from editgrpo.evaluation.predictions import read_predictions, write_predictions
from editgrpo.evaluation.rexrank import (
    SCORED_FILE,
    SUBMISSION_FILE,
    read_cases,
    write_rexrank,
    write_table,
)
from editgrpo.evaluation.rexrank_texts import RexrankTrack, model_prediction, reference_text
from editgrpo.evaluation.types import Prediction
from editgrpo.files import read_jsonl
from tests.builders import SMALL_BUDGET, noise, shared_data

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
        ("FINDINGS: Clear\nlungs.\nIMPRESSION: Normal.", REPORTS, WHOLE),
        ("FINDINGS: Clear\n lungs.\nIMPRESSION: Normal.", FINDINGS, "Findings: Clear lungs."),
        ("Impression: Normal. Findings: Clear lungs.", REPORTS, WHOLE),
        ("No acute findings.", FINDINGS, "Findings: No acute findings."),
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
    words = ["rexrank", "submit", str(predictions), str(cases), "--output", str(tmp_path / "out")]
    for code, shown in ((0, "Cases: 1; predictions of other studies: 0"), (2, "--overwrite")):
        with pytest.raises(SystemExit) as stop:
            main(words)
        said = capsys.readouterr()
        assert (stop.value.code, shown in said.out + said.err) == (code, True)


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "predictions.jsonl", "cases.json", "--output", "."],
        ["table", "cases.json", "--output", "cases.json"],
    ],
)
def test_nothing_is_written_over_what_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_cases(tmp_path / "cases.json", {"CXR7_IM-2263": CASE})
    write_predictions(tmp_path / "predictions.jsonl", [prediction("CXR7")])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as stop:
        main(["rexrank", *words, "--overwrite"])
    assert stop.value.code == 2
    assert "this command reads it" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_table_of_cases_becomes_studies(tmp_path: Path) -> None:
    cases = {
        "CXR7_IM-2263": {
            **CASE,
            "image_path": ["/CXR7_IM-2263/0.png", "CXR7_IM-2263/1.png"],
            "frontal_lateral": ["Lateral", "Frontal"],
            "context": "<context>Age:50-60.Gender:F.Indication: Cough. Comparison: None.</context>",
        },
        "patient1_study1": {
            "section_findings": float("nan"),
            "section_impression": "Normal.",
            "image_path": ["patient1/study1/view1.png"],
            "context": "Indication:nan",
        },
    }
    found = read_cases(write_cases(tmp_path / "cases.json", cases))
    assert write_table(tmp_path / "cases.jsonl", found) == 2
    images = tmp_path / "images"
    for case in cases.values():
        for name in case["image_path"]:
            place = images / str(name).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            noise(60, 60).save(place)
    mapping = {
        name: name for name in ("study_id", "image", "view", "indication", "comparison", "findings")
    }
    prepare(
        TableSource(
            table=tmp_path / "cases.jsonl",
            images=images,
            columns={**mapping, "impression": "impression", "split": "=test"},
        ),
        tmp_path / "studies",
        PrepareOptions(inclusion=Inclusion(require_findings=False), budget=SMALL_BUDGET, workers=1),
    )
    first, second = StudySet.load(tmp_path / "studies", split=Split.TEST)
    assert (first.study_id, first.indication, first.comparison) == (
        "CXR7_IM-2263", "Cough.", "None."
    )  # fmt: skip
    assert [(image.image_id.rpartition("/")[2], image.view) for image in first.images] == [
        ("1.png", View.FRONTAL),
        ("0.png", View.LATERAL),
    ]
    assert (second.study_id, second.indication, second.findings) == ("patient1_study1", "", "")
    assert second.impression == "Normal."


@pytest.mark.parametrize("case", [{}, {"image_path": []}, {"image_path": "a.png"}])
def test_a_case_without_images_is_named(tmp_path: Path, case: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="case 'a': names no images"):
        write_table(tmp_path / "cases.jsonl", {"a": {**CASE, **case}})


def test_views_that_do_not_fit_the_images_are_unknown(tmp_path: Path) -> None:
    case = {**CASE, "image_path": ["a", "b"], "frontal_lateral": ["Frontal"]}
    write_table(tmp_path / "cases.jsonl", {"a": case})
    ((_, row),) = read_jsonl(tmp_path / "cases.jsonl")
    assert row["view"] == ["unknown", "unknown"]


def test_the_true_cases_become_a_table(tmp_path: Path) -> None:
    found = read_cases(shared_data() / "iu_xray" / "rexrank_valid.json")
    assert write_table(tmp_path / "cases.jsonl", found) == 296
    rows = [row for _, row in read_jsonl(tmp_path / "cases.jsonl")]
    assert sum(len(row["image"]) for row in rows) == sum(len(row["view"]) for row in rows)
    assert sum(bool(row["indication"]) for row in rows) == 293


def test_a_prediction_without_a_reference_is_submitted(tmp_path: Path) -> None:
    """`editgrpo generate` writes an empty one for a study without findings."""
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, [replace(prediction("a"), reference=""), prediction("b")])
    reports = read_predictions(path, need_references=False)
    cases = {"a": {**CASE, "section_findings": None}, "b": CASE}
    summary = write_rexrank(tmp_path / "out", reports, cases, FINDINGS)
    assert (summary.cases, summary.unscored) == (2, 1)
    with pytest.raises(DataError, match="reference is empty"):
        read_predictions(path)


def test_the_command_names_the_case_that_is_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = write_cases(tmp_path / "cases.json", {"CXR7_IM-2263": CASE})
    predictions = tmp_path / "predictions.jsonl"
    write_predictions(predictions, [prediction("CXR7", "Secret finding.")])
    words = ["rexrank", "submit", str(predictions), str(cases), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        main([*words, "--track", "reports"])
    said = capsys.readouterr().err
    assert "case 'CXR7_IM-2263': its prediction has no 'Impression:'" in said
    assert "Secret" not in said


def test_impressions_alone_are_refused(tmp_path: Path) -> None:
    reports = [replace(prediction("a"), target=Target.IMPRESSION)]
    with pytest.raises(DataError, match="ReXrank has no track of these alone"):
        write_rexrank(tmp_path, reports, {"a": CASE}, FINDINGS)


def test_the_table_comes_with_the_command_that_prepares_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    case = {**CASE, "image_path": ["a.png"]}
    write_cases(tmp_path / "cases.json", {"CXR7_IM-2263": case})
    with pytest.raises(SystemExit):
        main(["rexrank", "table", "cases.json", "--output", "the cases.jsonl"])
    said, command = capsys.readouterr().out.splitlines()
    assert said == "Cases: 1, in the cases.jsonl. To prepare them:"
    name, *words = shlex.split(command.replace("FOLDER", "folder"))
    assert name == "editgrpo"
    with pytest.raises(SystemExit) as stop:
        main([*words, "--dry-run", "--without-images"])
    assert stop.value.code == 0
    assert re.search(r"^studies kept +1 +1$", capsys.readouterr().out, flags=re.MULTILINE)
