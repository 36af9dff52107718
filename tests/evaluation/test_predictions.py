"""Reading predictions: what is accepted, and where an error points."""

from pathlib import Path

import pytest

from editgrpo.errors import DataError
from editgrpo.evaluation.predictions import read_predictions, write_predictions
from editgrpo.evaluation.types import Prediction

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


@pytest.mark.parametrize(
    ("second_line", "message"),
    [
        ('{"study_id": "b", "prediction": "x"}', "line 2: reference is missing"),
        ('{"study_id": 3, "prediction": "x", "reference": "y"}', "line 2: study_id is not text"),
        ('{"study_id": "b", "prediction": null, "reference": "y"}', "prediction is not text"),
        ('{"study_id": "b", "prediction": "x", "reference": " "}', "line 2: reference is empty"),
        ('{"study_id": "a", "prediction": "x", "reference": "y"}', "stands on line 1 too"),
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
    with pytest.raises(DataError, match="holds no predictions"):
        read_predictions(tmp_path / "p.jsonl")
