"""Reading predictions: what is accepted, and where an error points."""

from pathlib import Path

import pytest

from editgrpo.errors import DataError
from editgrpo.evaluation.predictions import (
    copy_predictions,
    read_predictions,
    write_predictions,
)
from editgrpo.evaluation.types import Prediction
from editgrpo.files import write_jsonl

GOOD = '{"study_id": "a", "prediction": "Clear.", "reference": "Clear."}\n'


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    given = [
        Prediction(study_id="a", prediction="", reference="Große Läsion."),
        Prediction(study_id="b", prediction='line\nbreak "quoted"', reference="x"),
    ]
    assert write_predictions(path, given) == 2
    assert read_predictions(path) == given


def test_other_keys_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(GOOD.replace("}", ', "tokens": 7}'))
    assert read_predictions(path)[0].study_id == "a"


def test_patients_that_are_not_a_number_are_not_known(tmp_path: Path) -> None:
    # What pandas writes for two studies without a patient: they are not of one patient, "nan".
    path = tmp_path / "p.csv"
    path.write_text("study_id,prediction,reference,patient_id\n1,x,Clear.,nan\n2,x,Clear.,NaN\n")
    assert [one.patient_id for one in read_predictions(path)] == [None, None]


@pytest.mark.parametrize(
    ("second_line", "message"),
    [
        ('{"study_id": "b", "prediction": "x"}', "line 2: reference is missing"),
        ('{"study_id": 3.5, "prediction": "x", "reference": "y"}', "line 2: study_id is neither"),
        ('{"study_id": true, "prediction": "x", "reference": "y"}', "line 2: study_id is neither"),
        ('{"study_id": null, "prediction": "x", "reference": "y"}', "line 2: study_id is empty"),
        (
            '{"study_id": "b", "patient_id": [1], "prediction": "x", "reference": "y"}',
            "line 2: patient_id is neither",
        ),
        (
            '{"study_id": "b", "patient_id": 4, "prediction": "x", "reference": "y"}',
            "line 1: no patient_id, though line 2 has one",
        ),
        ('{"study_id": "nan", "prediction": "x", "reference": "y"}', "line 2: study_id is empty"),
        (
            '{"study_id": "b", "prediction": "x", "reference": "y\\udc00"}',
            "line 2: holds half of a surrogate pair",
        ),
        ('{"study_id": "b", "prediction": null, "reference": "y"}', "prediction is not text"),
        ('{"study_id": "b", "prediction": "x", "reference": " "}', "line 2: reference is empty"),
        ('{"study_id": "a", "prediction": "x", "reference": "y"}', "is on line 1 too"),
        ('{"study_id": "b"', "line 2"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, second_line: str, message: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(GOOD + second_line + "\n")
    with pytest.raises(DataError, match=message) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no study"):
        read_predictions(tmp_path / "p.jsonl")


ROW = '"prediction": "x", "reference": "y"}'


def test_whole_numbers_are_ids(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    ids = ('"study_id": 7, "patient_id": 1.0', '"study_id": "8.0", "patient_id": "1"')
    path.write_text("".join(f"{{{one}, {ROW}\n" for one in ids))
    table = tmp_path / "p.csv"
    table.write_text("study_id,patient_id,prediction,reference\n7,1.0,x,y\n8.0,1,x,y\n")
    for found in (read_predictions(path), read_predictions(table)):
        assert [(one.study_id, one.patient_id) for one in found] == [("7", "1"), ("8", "1")]


@pytest.mark.parametrize("second", ["7", '"7"', "7.0", '"7.0"', '" 7 "'])
def test_a_study_written_in_two_ways_stands_twice(tmp_path: Path, second: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"study_id": 7, {ROW}\n{{"study_id": {second}, {ROW}\n')
    with pytest.raises(DataError, match="line 2: study 7 is on line 1 too"):
        read_predictions(path)


@pytest.mark.parametrize("nothing", ["", ', "patient_id": null', ', "patient_id": NaN'])
def test_a_patient_may_be_unknown(tmp_path: Path, nothing: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"study_id": 7{nothing}, {ROW}\n')
    assert read_predictions(path)[0].patient_id is None
    table = tmp_path / "p.csv"
    table.write_text("study_id,patient_id,prediction,reference\n7,,x,y\n")
    assert read_predictions(table)[0].patient_id is None


def test_patients_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    given = [Prediction(study_id="a", prediction="x", reference="y", patient_id="p")]
    write_predictions(path, given)
    assert path.read_text() == (
        '{"study_id": "a", "patient_id": "p", "prediction": "x", "reference": "y"}\n'
    )
    assert read_predictions(path) == given


def test_a_copy_keeps_what_else_is_known_of_a_report(tmp_path: Path) -> None:
    source, copy = tmp_path / "p.jsonl", tmp_path / "copy.jsonl"
    source.write_text(f'{{"study_id": 7, "patient_id": 1.0, "truncated": false, {ROW}\n')
    copy_predictions(source, copy)
    assert copy.read_text() == (
        f'{{"study_id": "7", "patient_id": "1", "truncated": false, {ROW}\n'
    )


def test_a_cell_that_was_guarded_is_read_as_it_was(tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text("study_id,prediction,reference\n'=7,'- clear,''+ x\n")
    (found,) = read_predictions(table)
    assert (found.study_id, found.prediction, found.reference) == ("=7", "- clear", "'+ x")


@pytest.mark.parametrize("reference", ["nan", "N/A", "None.", "As above.", "XXXX.", "?"])
def test_a_reference_that_says_nothing_is_refused(tmp_path: Path, reference: str) -> None:
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, [Prediction(study_id="s", prediction="Clear.", reference=reference)])
    with pytest.raises(DataError, match=r"line 1: reference holds no text"):
        read_predictions(path)


def test_a_prediction_may_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, [Prediction(study_id="s", prediction="N/A", reference="Clear.")])
    assert read_predictions(path)[0].prediction == "N/A"


@pytest.mark.parametrize(("column", "is_told"), [("PatientID", True), ("age", False)])
def test_a_column_that_looks_like_patients_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, is_told: bool
) -> None:
    file = tmp_path / "p.jsonl"
    row = {"study_id": "1", column: "p1", "prediction": "Clear.", "reference": "Clear."}
    write_jsonl(file, [row])
    assert read_predictions(file)[0].patient_id is None
    assert [f"column {column} is not read" in one for one in caplog.messages] == [True] * is_told
