"""Predictions of each target: what of them is scored, and that the results say so."""

import json
from pathlib import Path

import pytest

from editgrpo.config import Section, Target
from editgrpo.errors import DataError
from editgrpo.evaluation.files import SystemFiles, evaluate_file, evaluate_systems
from editgrpo.evaluation.predictions import read_predictions, write_predictions
from editgrpo.evaluation.scored_texts import scored_texts
from editgrpo.evaluation.statement import target_words
from editgrpo.evaluation.types import EvaluationOptions, Prediction
from editgrpo.reports.headings import with_headings

EFFUSION, CLEAR = "Small left pleural effusion.", "The lungs are clear."
MICRO = "rules/micro-f1-14"
QUICK = EvaluationOptions(samples=20)


def one(number: int, prediction: str, reference: str, target: Target = Target.BOTH) -> Prediction:
    return Prediction(
        study_id=f"s{number}",
        prediction=prediction,
        reference=reference,
        patient_id=f"p{number}",
        target=target,
    )


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """The first report has a wrong impression, the second no findings."""
    reference = with_headings(EFFUSION, CLEAR)
    path = tmp_path / "both" / "predictions.jsonl"
    texts = [with_headings(EFFUSION, EFFUSION), f"IMPRESSION: {CLEAR}"]
    rows = [one(number, text, reference) for number, text in enumerate(texts, start=1)]
    write_predictions(path, rows)
    return path


def test_the_target_stands_in_the_file_where_it_is_not_findings(both: Path, tmp_path: Path) -> None:
    assert [row.target for row in read_predictions(both)] == [Target.BOTH] * 2
    findings = tmp_path / "findings.jsonl"
    write_predictions(findings, [one(1, CLEAR, CLEAR, Target.FINDINGS)])
    assert "target" not in json.loads(findings.read_text())
    assert read_predictions(findings)[0].target is Target.FINDINGS
    table = tmp_path / "table.csv"
    table.write_text("study_id,prediction,reference,target\ns1,Normal.,Normal.,impression\n")
    assert read_predictions(table)[0].target is Target.IMPRESSION


def test_a_section_alone_or_both_without_their_headings_are_scored(both: Path) -> None:
    rows = read_predictions(both)

    def texts(section: Section | None) -> list[tuple[str, str]]:
        return [(r.prediction, r.reference) for r in scored_texts(rows, section, where="file")]

    whole = f"{EFFUSION} {CLEAR}"
    assert texts(None) == [(f"{EFFUSION} {EFFUSION}", whole), (CLEAR, whole)]
    assert texts(Section.FINDINGS) == [(EFFUSION, EFFUSION), ("", EFFUSION)]
    assert texts(Section.IMPRESSION) == [(EFFUSION, CLEAR), (CLEAR, CLEAR)]


def test_the_scores_say_what_they_are_of(both: Path, tmp_path: Path) -> None:
    whole = evaluate_file(both, output=tmp_path / "whole", options=QUICK)
    # References: Effusion twice. Predictions: Effusion; No Finding. TP 1, FP 1, FN 1: 2 / 4.
    assert whole.metrics[MICRO].value == 0.5
    record = json.loads((tmp_path / "whole" / "scores.json").read_text())
    assert (record["target"], "section" in record) == ("findings+impression", False)
    assert target_words(record) == "scored: findings+impression"

    options = EvaluationOptions(metrics=(MICRO,), samples=20, section=Section.IMPRESSION)
    part = evaluate_file(both, output=tmp_path / "part", options=options)
    # References: No Finding twice. Predictions: Effusion; No Finding.
    assert part.metrics[MICRO].value == 0.5
    record = json.loads((tmp_path / "part" / "scores.json").read_text())
    assert target_words(record) == "scored: impression of findings+impression"
    assert (tmp_path / "part" / "predictions.jsonl").read_bytes() == both.read_bytes()


def test_scores_of_findings_say_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "predictions.jsonl"
    write_predictions(path, [one(1, CLEAR, CLEAR, Target.FINDINGS)])
    evaluate_file(path, output=tmp_path / "out", options=QUICK)
    record = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert "target" not in record and target_words(record) == ""


def test_targets_are_not_mixed(both: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    write_predictions(other, [one(1, CLEAR, CLEAR, Target.IMPRESSION)])
    with pytest.raises(DataError, match="several targets"):
        evaluate_systems([SystemFiles(paths=(both,)), SystemFiles(paths=(other,))], options=QUICK)
    with pytest.raises(DataError, match="leave out --section"):
        scored_texts(read_predictions(other), Section.FINDINGS, where="other")
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_bytes(both.read_bytes() + other.read_bytes().replace(b"s1", b"s3"))
    with pytest.raises(DataError, match="line 3: target is impression, but that of the first"):
        read_predictions(mixed)
    odd = tmp_path / "odd.jsonl"
    odd.write_bytes(other.read_bytes().replace(b'"impression"', b'"conclusion"'))
    with pytest.raises(DataError, match="line 1: target is none of findings, impression"):
        read_predictions(odd)


def test_a_reference_without_the_section_is_left_out_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [one(1, CLEAR, with_headings(CLEAR, CLEAR)), one(2, CLEAR, f"FINDINGS: {CLEAR}")]
    kept = scored_texts(rows, Section.IMPRESSION, where="file")
    assert [row.study_id for row in kept] == ["s1"]
    assert "file: 1 studies without impression are left out" in caplog.text
    with pytest.raises(DataError, match="no reference has impression"):
        scored_texts(rows[1:], Section.IMPRESSION, where="file")
