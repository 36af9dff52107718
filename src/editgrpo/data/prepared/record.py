"""A study as a row of a table: the columns, their order, and what a study must fulfil to be one.

Left out: which rows make a data set, and what lies on disk; `store.py` does that.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any

from editgrpo.config import Target
from editgrpo.data.special_tokens import SHOWN_FIELDS, holds_special_token
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

SECTIONS = ("indication", "technique", "comparison", "findings", "impression")
_OPTIONAL = ("time", "prior_study_id", "prior_time", *SECTIONS)
_TEXTS = ("study_id", "patient_id", *_OPTIONAL)

# A misplaced value may be report text, which no message may hold. Shown are short codes and
# numbers: one word that ends as none of a sentence does, or no letter at all.
_LONGEST_SHOWN = 24  # characters
_CODE = re.compile(r"[\w+:./\\-]*\w|[\W\d_]*")

# Cells below no header: a sentence or its end, a number, a date, a path to an image.
_LONGEST_NAME, _MOST_WORDS = 40, 3
_NO_NAME = re.compile(r"[.!?;]$|[.!?;,]\s|^[\d\W_]+$|\.(png|jpe?g|dcm|dicom)$", re.IGNORECASE)


def study_to_row(study: Study) -> dict[str, Any]:
    """Return a study as a row, its columns in the documented order."""
    return {
        "study_id": study.study_id,
        "patient_id": study.patient_id,
        "split": study.split.value,
        "time": study.time,
        "prior_study_id": study.prior_study_id,
        "prior_time": study.prior_time,
        "images": [
            {
                "image_id": image.image_id,
                "view": image.view.value,
                "timepoint": image.timepoint.value,
            }
            for image in study.images
        ],
        **{name: getattr(study, name) for name in SECTIONS},
    }


def studies_from_batch(
    batch: "pa.RecordBatch", *, where: str, target: Target = Target.FINDINGS
) -> Iterator[Study]:
    """Read studies from rows of a table, column by column: row by row takes three times as long.

    Args:
        batch: Some rows; its columns have the right types.
        where: File and row, for messages.
        target: What is asked for of these studies.

    Yields:
        The studies.

    Raises:
        DataError: A split, view or time point has none of the known values.
    """
    columns = {name: batch.column(name).to_pylist() for name in ("split", *_TEXTS)}
    entries = batch.column("images").flatten()
    fields = (entries.field(name).to_pylist() for name in ("image_id", "view", "timepoint"))
    try:
        splits = [_SPLITS[name] for name in columns.pop("split")]
        images = (
            StudyImage(image_id=image_id, view=_VIEWS[view], timepoint=_TIMEPOINTS[timepoint])
            for image_id, view, timepoint in zip(*fields, strict=True)
        )
        images_of_each = [
            tuple(islice(images, count or 0))  # a list that is missing is empty
            for count in batch.column("images").value_lengths().to_pylist()
        ]
    except KeyError as error:
        raise DataError(
            f"{where}: {shown(error.args[0])} is no split, view or time point; prepare the studies "
            "again"
        ) from error
    for split, shown_images, *texts in zip(splits, images_of_each, *columns.values(), strict=True):
        yield Study(
            split=split,
            images=shown_images,
            target=target,
            **dict(zip(columns, texts, strict=True)),
        )


def check_study(study: Study, *, where: str) -> None:
    """Check that a study can be written and will be read back as it is.

    Args:
        study: A study.
        where: What is being written, for messages.

    Raises:
        DataError: An id is empty, a text is no valid Unicode, or one that reaches a model holds a
            special token; the message names study and field.
    """
    place = f"{where}, study {shown(study.study_id)}"
    for name in ("study_id", "patient_id"):
        if not getattr(study, name).strip():
            raise DataError(f"{place}: field {name!r} is empty; give it a value")
    for name in SHOWN_FIELDS:
        if holds_special_token(getattr(study, name)):
            raise DataError(
                f"{place}: field {name!r} holds <image> or a special token such as <|...|>; "
                "remove it from the text, or leave the study out"
            )
    texts = [(name, getattr(study, name)) for name in _TEXTS]
    texts += [("image_id", image.image_id) for image in study.images]
    for name, text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{place}: field {name!r} holds half of a surrogate pair at character "
                f"{error.start}; write the text as valid UTF-8"
            ) from error


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
    is_code = not isinstance(value, str) or _CODE.fullmatch(value) is not None
    if len(text) <= _LONGEST_SHOWN and is_code:
        return text
    return _described(value)


def _described(value: object) -> str:
    kind = "text" if isinstance(value, str) else type(value).__name__
    return f"a {kind} of {len(repr(value))} characters"


def is_header(names: Sequence[str]) -> bool:
    """Say whether the first row of a table names columns, rather than being a row of a table that
    has no header, whose cells no message may hold."""
    return all(
        len(name) <= _LONGEST_NAME
        and len(name.split()) <= _MOST_WORDS
        and not _NO_NAME.search(name.strip())
        for name in names
        if name.strip()
    )


def listed_columns(names: Sequence[str]) -> str:
    """Return the columns of a table as a message may hold them."""
    if is_header(names):
        return ", ".join(name for name in names if name.strip())
    longest = _described(max(names, key=len))
    return f"no header: {len(names)} cells in its first row, one of them {longest}"


def _by_value(kind: type[StrEnum]) -> dict[str, Any]:
    # A dictionary is several times faster than the enum's own look-up, over a million images.
    return {member.value: member for member in kind}


_SPLITS, _VIEWS, _TIMEPOINTS = _by_value(Split), _by_value(View), _by_value(Timepoint)
