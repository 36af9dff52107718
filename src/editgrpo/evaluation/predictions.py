"""Reading and writing predictions: one study a line or row with prediction and reference."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from editgrpo.config import Target
from editgrpo.data.given_values import is_identifier, section_text
from editgrpo.data.identifiers import identifier
from editgrpo.data.readers.table import read_table
from editgrpo.errors import DataError
from editgrpo.evaluation.types import Prediction
from editgrpo.files import read_jsonl, write_jsonl

_FIELDS = ("study_id", "prediction", "reference")
_NEEDED = ", ".join(_FIELDS)
_IDS = ("study_id", "patient_id")
_LIKE_PATIENTS = ("patient", "patientid", "subject", "subjectid", "mrn")

_LOGGER = logging.getLogger(__name__)


def read_predictions(path: Path, *, need_references: bool = True) -> list[Prediction]:
    """Read predictions.

    Args:
        path: JSON lines with `study_id`, `prediction` and `reference`, or a CSV file (`.csv`) with
            these columns, `patient_id` if it is known, and `target` if it is not findings; other
            keys and columns are passed over.
            Ids may be whole numbers: 7, "7" and 7.0 are one id.
        need_references: Whether a reference must say something.

    Returns:
        The predictions in the order of the file, at least one; all have a patient, or none has.

    Raises:
        DataError: the file is empty or unreadable, or a line lacks a field, has one that is not
            text, has a reference that says nothing, repeats a study, has no patient where others
            have one or has another target; the message names file and line.
    """
    predictions: list[Prediction] = []
    line_of: dict[str, int] = {}
    first_with: dict[bool, int] = {}
    columns: Iterable[str] = ()
    for number, row in _rows(path):
        columns = columns or row
        place = f"{path}, line {number}"
        prediction = _prediction(row, place, need_reference=need_references)
        first_with.setdefault(prediction.patient_id is not None, number)
        if predictions and prediction.target is not predictions[0].target:
            raise DataError(
                f"{place}: target is {prediction.target.value}, but that of the first line is "
                f"{predictions[0].target.value}; score each in a file of its own"
            )
        first = line_of.setdefault(prediction.study_id, number)
        if first != number:
            raise DataError(
                f"{place}: study {prediction.study_id} is on line {first} too; "
                "keep one prediction for each study"
            )
        predictions.append(prediction)
    if not predictions:
        raise DataError(f"{path}: holds no study; each line needs {_NEEDED}")
    if True not in first_with:
        _warn_of_other_names(path, columns)
    if len(first_with) > 1:
        raise DataError(
            f"{path}, line {first_with[False]}: no patient_id, though line {first_with[True]} has "
            "one; give every study its patient, or none"
        )
    return predictions


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> int:
    """Write predictions, whole or not at all.

    Args:
        path: The file to write.
        predictions: What to write; taken one at a time.

    Returns:
        How many lines were written.
    """
    return write_jsonl(path, map(_row, predictions))


def copy_predictions(source: Path, copy: Path) -> None:
    """Write predictions as JSON lines, whole or not at all, their ids as text.

    Args:
        source: What `read_predictions` takes and has read.
        copy: The file to write. Other keys of JSON lines are kept; other columns of CSV are not,
            since a cell does not tell what type it is of.
    """
    if source.suffix.lower() == ".csv":
        write_predictions(copy, read_predictions(source))
        return
    write_jsonl(
        copy,
        (
            row | {name: _id(row, name, str(source)) for name in _IDS if row.get(name) is not None}
            for _, row in read_jsonl(source)
        ),
    )


def _prediction(row: Mapping[str, Any], place: str, *, need_reference: bool) -> Prediction:
    prediction = Prediction(
        study_id=_id(row, "study_id", place),
        prediction=_text(row, "prediction", place),
        reference=_text(row, "reference", place),
        patient_id=_id(row, "patient_id", place) or None,
        target=_target(row, place),
    )
    for name in ("study_id", "reference") if need_reference else ("study_id",):
        if not getattr(prediction, name).strip():
            raise DataError(f"{place}: {name} is empty; leave this study out")
    if need_reference and not section_text(prediction.reference, prediction.target.sections[0]):
        raise DataError(
            f"{place}: reference holds no text, as N/A does, or only points elsewhere; leave "
            "this study out"
        )
    return prediction


def _warn_of_other_names(path: Path, columns: Iterable[str]) -> None:
    """Say so if a column looks like that of patients: without them, intervals are too narrow."""
    for name in columns:
        if re.sub(r"[^a-z]", "", name.lower()) in _LIKE_PATIENTS:
            _LOGGER.warning(
                "%s: column %s is not read; name it patient_id if it says whose study it is, "
                "so that intervals are over patients",
                path,
                name,
            )


def _row(one: Prediction) -> dict[str, str]:
    patient = {} if one.patient_id is None else {"patient_id": one.patient_id}
    return {
        "study_id": one.study_id,
        **patient,
        "prediction": one.prediction,
        "reference": one.reference,
        **({} if one.target is Target.FINDINGS else {"target": one.target.value}),
    }


def _target(row: Mapping[str, Any], place: str) -> Target:
    """Return what a line was made for; findings where it does not say."""
    value = row.get("target") or Target.FINDINGS.value
    try:
        return Target(value)
    except ValueError as error:
        known = ", ".join(Target)
        raise DataError(f"{place}: target is none of {known}; correct it") from error


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


def _id(row: Mapping[str, Any], name: str, place: str) -> str:
    """Return an id as text, empty if there is none: `nan` names nobody."""
    if name == "study_id" and name not in row:
        raise DataError(f"{place}: {name} is missing; each line needs {_NEEDED}")
    found = identifier(row.get(name))
    if found is None:
        raise DataError(
            f"{place}: {name} is neither text nor a whole number with all of its digits; write it "
            "as text"
        )
    return found if is_identifier(found) else ""


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        problem = "is missing" if name not in row else "is not text"
        raise DataError(f"{place}: {name} {problem}; each line needs {_NEEDED}")
    return value
