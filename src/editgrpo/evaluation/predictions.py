"""Reading and writing predictions: one study a line or row with prediction and reference."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from editgrpo.data.readers.table import read_table
from editgrpo.errors import DataError
from editgrpo.evaluation.types import Prediction
from editgrpo.files import read_jsonl, write_jsonl

_FIELDS = ("study_id", "prediction", "reference")
_NEEDED = ", ".join(_FIELDS)


def read_predictions(path: Path) -> list[Prediction]:
    """Read predictions.

    Args:
        path: JSON lines with `study_id`, `prediction` and `reference`, or a CSV file (`.csv`) with
            these columns; other keys and columns are passed over.

    Returns:
        The predictions in the order of the file, at least one.

    Raises:
        DataError: the file is empty or unreadable, or a line lacks a field, has one that is not
            text, has an empty reference or repeats a study; the message names file and line.
    """
    predictions: list[Prediction] = []
    line_of: dict[str, int] = {}
    for number, row in _rows(path):
        place = f"{path}, line {number}"
        prediction = Prediction(
            study_id=_text(row, "study_id", place),
            prediction=_text(row, "prediction", place),
            reference=_text(row, "reference", place),
        )
        for name in ("study_id", "reference"):
            if not getattr(prediction, name).strip():
                raise DataError(f"{place}: {name} is empty; leave this study out")
        first = line_of.setdefault(prediction.study_id, number)
        if first != number:
            raise DataError(
                f"{place}: study {prediction.study_id} stands on line {first} too; "
                "keep one prediction for each study"
            )
        predictions.append(prediction)
    if not predictions:
        raise DataError(f"{path}: holds no predictions; run `editgrpo generate` first")
    return predictions


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> int:
    """Write predictions, whole or not at all.

    Args:
        path: The file to write.
        predictions: What to write; taken one at a time.

    Returns:
        How many lines were written.
    """
    return write_jsonl(
        path,
        (
            {"study_id": one.study_id, "prediction": one.prediction, "reference": one.reference}
            for one in predictions
        ),
    )


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the line on which each study starts, and its fields."""
    if path.suffix.lower() != ".csv":
        yield from read_jsonl(path)
        return
    table = read_table(path)
    for name in _FIELDS:
        if name not in table.columns:
            raise DataError(f"{path}, line 1: no column {name}; name the columns {_NEEDED}")
    for row in table.rows:
        yield int(row.where.rpartition(" ")[2]), row.cells


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        problem = "is missing" if name not in row else "is not text"
        raise DataError(f"{place}: {name} {problem}; each line needs {_NEEDED}")
    return value
