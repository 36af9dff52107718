"""MIMIC-CXR's metadata and split tables: each study's patient, split, time, images and views.

Left out: reports and pixels, and the list of records, which says nothing that the metadata lacks.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import pyarrow.compute as pc

from editgrpo.data.readers.csv_columns import Columns, first_row, read_columns, shown_cell
from editgrpo.data.splits import parse_split
from editgrpo.data.study import Split, Study, StudyImage, View
from editgrpo.data.views import normalise_view
from editgrpo.errors import DataError

_IDS = ("dicom_id", "subject_id", "study_id")
_TAKEN = ("ViewPosition", "ViewCodeSequence_CodeMeaning", "StudyDate", "StudyTime")
# Ids become parts of paths: nothing that could lead out of the tree.
_ID_FORM = {
    "dicom_id": "^[0-9A-Za-z][0-9A-Za-z_-]*$",
    "subject_id": "^[0-9]+$",
    "study_id": "^[0-9]+$",
}
_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:\.0*)?")
# HHMMSS.fff, which lost its leading zeros where it was written as a number.
_TIME = re.compile(r"([0-9]{1,6})(?:\.([0-9]*))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """All studies that the tables list.

    Attributes:
        studies: Without sections, by split, patient, time and study_id; ids without the `s` and `p`
            of files and folders, times empty if date or time of day are missing or impossible,
            images by dicom_id.
        unrecognised_views: How often each view name was not understood.
    """

    studies: list[Study]
    unrecognised_views: Counter[str]


def read_listing(folder: Path) -> Listing:
    """Read the metadata and split tables.

    Args:
        folder: Holds `mimic-cxr-2.*-metadata.csv` and `mimic-cxr-2.*-split.csv`, gzipped or not.

    Returns:
        The studies that have a row in the metadata; further rows of the split table are passed
        over, so that a part of the metadata is a part of the data set.

    Raises:
        DataError: A table is missing, appears twice, or cannot be read; an id is malformed; an
            image appears twice, has no split, or belongs to another study in the other table; a
            study has two patients; a study or a patient is in two splits. The message names file
            and line.
    """
    metadata = read_columns(find_table(folder, "metadata"), (*_IDS, *_TAKEN))
    split = read_columns(find_table(folder, "split"), (*_IDS, "split"))
    for table in (metadata, split):
        _check_ids(table)
    rows = _join(metadata, split)
    of_row = _splits(split)
    splits = [of_row[row] for row in rows]
    _check_same(metadata, "study_id", metadata["subject_id"].to_pylist(), "has two patients")
    _check_same(metadata, "study_id", splits, "is in two splits")
    _check_same(metadata, "subject_id", splits, "is in two splits")
    views, unrecognised = _views(metadata)
    return Listing(studies=_studies(metadata, splits, views), unrecognised_views=unrecognised)


def find_table(folder: Path, kind: str) -> Path:
    """Return the one table of a kind, `metadata` or `split`.

    Args:
        folder: Where it must be.
        kind: The last word of its name.

    Returns:
        Its path, whatever its 2.x version; `.csv` or `.csv.gz`.

    Raises:
        DataError: There is none, or more than one.
    """
    name = f"mimic-cxr-2.*-{kind}.csv"
    found = sorted([*folder.glob(name), *folder.glob(f"{name}.gz")])
    if not found:
        remedy = "the folder above it" if folder.name == "files" else "the folder that holds it"
        raise DataError(
            f"{folder}: holds no {name}, gzipped or not; it comes with MIMIC-CXR-JPG: give {remedy}"
        )
    if len(found) > 1:
        raise DataError(
            f"{found[1]}: is next to {found[0].name}; give a folder that holds one of the two"
        )
    return found[0]


def _check_ids(table: Columns) -> None:
    for column, form in _ID_FORM.items():
        row = first_row(pc.invert(pc.match_substring_regex(table[column], form)))
        if row is not None:
            raise DataError(
                f"{table.where(row)}: {shown_cell(table, column, row)}, which is no id; download "
                "the file again"
            )
    seen: set[str] = set()
    for row, image in enumerate(table["dicom_id"].to_pylist()):
        if image in seen:
            raise DataError(
                f"{table.where(row)}: image {image} is in the table twice; keep one of its rows"
            )
        seen.add(image)


def _join(metadata: Columns, split: Columns) -> list[int]:
    """Return the row of the split table for each row of the metadata."""
    rows = pc.index_in(metadata["dicom_id"], value_set=split["dicom_id"])
    missing = first_row(rows.is_null())
    if missing is not None:
        raise DataError(
            f"{metadata.where(missing)}: image {metadata['dicom_id'][missing]} has no row in "
            f"{split.path.name}; take both tables from one release"
        )
    for column in ("study_id", "subject_id"):
        row = first_row(pc.not_equal(metadata[column], split[column].take(rows)))
        if row is not None:
            raise DataError(
                f"{metadata.where(row)}: {column} of image {metadata['dicom_id'][row]} is not the "
                f"one in {split.path.name}; take both tables from one release"
            )
    return list(rows.to_pylist())


def _splits(table: Columns) -> list[Split]:
    """Return the split of each row."""
    names = table["split"].to_pylist()
    known: dict[str, Split] = {}
    for row, name in enumerate(names):
        if name not in known:
            try:
                known[name] = parse_split(name, where="field 'split'")
            except DataError as error:
                raise DataError(f"{table.where(row)}: {error}") from error
    return [known[name] for name in names]


def _check_same(table: Columns, column: str, values: Iterable[object], what: str) -> None:
    """Check that all rows of one id have one value."""
    first: dict[str, object] = {}
    for row, (one, value) in enumerate(zip(table[column].to_pylist(), values, strict=True)):
        if first.setdefault(one, value) != value:
            raise DataError(
                f"{table.where(row)}: {column} {one} {what}; take metadata and split from one "
                "release, unchanged"
            )


def _views(metadata: Columns) -> tuple[list[View], Counter[str]]:
    """Return each row's view, and the names that were not understood.

    ViewPosition decides; where it is missing or says nothing, the view code does.
    """
    positions, codes = (metadata[column].to_pylist() for column in _TAKEN[:2])
    pairs = list(zip(positions, codes, strict=True))
    view_of_pair: dict[tuple[str, str], View] = {}
    unrecognised: Counter[str] = Counter()
    for pair, count in Counter(pairs).items():
        names: Counter[str] = Counter()
        views = (normalise_view(name, unrecognised=names) for name in pair)
        view = next((view for view in views if view is not View.UNKNOWN), View.UNKNOWN)
        view_of_pair[pair] = view
        if view is View.UNKNOWN:
            unrecognised.update(dict.fromkeys(names, count))
    return [view_of_pair[pair] for pair in pairs], unrecognised


def _studies(metadata: Columns, splits: Sequence[Split], views: Sequence[View]) -> list[Study]:
    dicom_ids, subjects, ids, dates, clocks = (
        metadata[column].to_pylist() for column in (*_IDS, "StudyDate", "StudyTime")
    )
    rows_of_study: dict[str, list[int]] = defaultdict(list)
    for row, study_id in enumerate(ids):
        rows_of_study[study_id].append(row)
    studies = []
    for study_id, rows in rows_of_study.items():
        rows.sort(key=dicom_ids.__getitem__)
        times = {study_time(dates[row], clocks[row]) for row in rows} - {""}
        studies.append(
            Study(
                study_id=study_id,
                patient_id=subjects[rows[0]],
                split=splits[rows[0]],
                time=min(times, default=""),
                images=tuple(StudyImage(image_id=dicom_ids[k], view=views[k]) for k in rows),
            )
        )
    order = {split: number for number, split in enumerate(Split)}
    studies.sort(key=lambda s: (order[s.split], int(s.patient_id), s.time, int(s.study_id)))
    return studies


@lru_cache(maxsize=1 << 12)
def study_time(day: str, clock: str) -> str:
    """Read StudyDate and StudyTime.

    Args:
        day: YYYYMMDD, also as a number with a point.
        clock: HHMMSS.fff, with or without leading zeros: `93015.5` is 09:30:15.5.

    Returns:
        ISO 8601, such as `2150-01-02T09:30:15.5`, without zeros at the end of the fraction, so that
        equal times are equal texts and text order is time order. Empty if either is missing or no
        date or time of day: a day alone cannot be ordered among the studies of that day.
    """
    date_match, time_match = _DATE.fullmatch(day), _TIME.fullmatch(clock)
    if date_match is None or time_match is None:
        return ""
    digits = time_match[1].zfill(6)
    if digits[:2] > "23" or digits[2:4] > "59" or digits[4:] > "59":
        return ""
    try:
        shifted = date(*(int(part) for part in date_match.groups()))
    except ValueError:
        return ""
    fraction = (time_match[2] or "")[:6].rstrip("0")
    time = f"{digits[:2]}:{digits[2:4]}:{digits[4:]}"
    return f"{shifted.isoformat()}T{time}" + (f".{fraction}" if fraction else "")
