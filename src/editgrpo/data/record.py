"""A study as a JSON object: the field names, their order, and the checks on reading.

Left out: which lines make a data set, and what lies on disk; `store.py` does that.
"""

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError

SECTIONS = ("indication", "technique", "comparison", "findings", "impression")
_STUDY_FIELDS = ("study_id", "patient_id", "split", "images", *SECTIONS)
_IMAGE_FIELDS = ("path", "view", "timepoint")
_Choice = TypeVar("_Choice", bound=StrEnum)
_LONGEST_SHOWN = 24  # characters: a misplaced value may be report text, which no message may hold


def study_to_record(study: Study) -> dict[str, Any]:
    """Return a study as a JSON object whose keys stand in the documented order."""
    return {
        "study_id": study.study_id,
        "patient_id": study.patient_id,
        "split": study.split.value,
        "images": [
            {"path": image.path, "view": image.view.value, "timepoint": image.timepoint.value}
            for image in study.images
        ],
        **{name: getattr(study, name) for name in SECTIONS},
    }


def study_from_record(record: object, *, where: str) -> Study:
    """Read a study from a JSON object.

    Sections may be left out or null, which means the same as an empty string; `images` may be an
    empty list; the `timepoint` of an image may be left out and is then `current`.

    Args:
        record: A parsed JSON value.
        where: File and line, for messages.

    Returns:
        The study, with surrounding white space of ids and sections removed.

    Raises:
        DataError: A field is unknown, missing, of the wrong type or has an unknown value; the
            message names it.
    """
    fields = _object(record, known=_STUDY_FIELDS, where=where)
    images = fields.get("images")
    if not isinstance(images, list):
        raise DataError(f"{where}: field 'images' must be a list of objects with path and view")
    return Study(
        study_id=_identifier(fields, "study_id", where),
        patient_id=_identifier(fields, "patient_id", where),
        split=_choice(fields, "split", Split, where),
        images=tuple(_image(image, f"{where}: images[{k}]") for k, image in enumerate(images)),
        **{name: _section(fields, name, where) for name in SECTIONS},
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return advice for a misspelt name: the nearest known one, or all of them if none is near."""
    known = list(known)
    by_lower_case = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.strip().lower(), by_lower_case, n=1)
    if matches:
        return f"did you mean {by_lower_case[matches[0]]!r}?"
    return f"use one of {', '.join(known)}"


def shown(value: object) -> str:
    """Return a value as a message may hold it: whole if short, else only its type and length."""
    text = repr(value)
    if len(text) <= _LONGEST_SHOWN:
        return text
    return f"a {type(value).__name__} of {len(text)} characters"


def _image(value: object, where: str) -> StudyImage:
    fields = _object(value, known=_IMAGE_FIELDS, where=where)
    timepoint = Timepoint.CURRENT
    if "timepoint" in fields:
        timepoint = _choice(fields, "timepoint", Timepoint, where)
    return StudyImage(
        path=_identifier(fields, "path", where),
        view=_choice(fields, "view", View, where),
        timepoint=timepoint,
    )


def _object(value: object, *, known: tuple[str, ...], where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be a JSON object, not {shown(value)}")
    for key in value:
        if key not in known:
            raise DataError(f"{where}: unknown field {shown(key)}; {nearest(key, known)}")
    return value


def _identifier(fields: Mapping[str, object], name: str, where: str) -> str:
    if name not in fields:
        raise DataError(f"{where}: field {name!r} is missing; add it")
    value = fields[name]
    if not isinstance(value, str):
        raise DataError(f"{where}: field {name!r} is {shown(value)}; it must be a string in quotes")
    if not value.strip():
        raise DataError(f"{where}: field {name!r} is empty; give it a value")
    return _encodable(value.strip(), name, where)


def _section(fields: Mapping[str, object], name: str, where: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{where}: field {name!r} is {shown(value)}; it must be a string or null")
    return _encodable(value.strip(), name, where)


def _encodable(text: str, name: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: field {name!r} holds half of a surrogate pair at character {error.start}; "
            "write the text as valid UTF-8"
        ) from error
    return text


def _choice(fields: Mapping[str, object], name: str, kind: type[_Choice], where: str) -> _Choice:
    value = fields.get(name)
    choices = [choice.value for choice in kind]
    if not isinstance(value, str):
        problem = "is missing" if name not in fields else f"is {shown(value)}"
        raise DataError(f"{where}: field {name!r} {problem}; use one of {', '.join(choices)}")
    if value not in choices:
        raise DataError(f"{where}: field {name!r} is {shown(value)}; {nearest(value, choices)}")
    return kind(value)
