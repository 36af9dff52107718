"""The tables of PadChest-GR and PadChest, in long format, drawn together by study and by image.

Left out: labels, boxes and sentences of the master table, which the grounded reports have too, and
the stemmed reports of PadChest.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from editgrpo.data.padchest_gr.reports import image_name
from editgrpo.data.readers.csv_columns import Columns, first_row, read_columns, shown_cell
from editgrpo.data.splits import parse_split
from editgrpo.data.study import Split
from editgrpo.data.times import iso_day
from editgrpo.errors import DataError

_MASTER_NAMES = ("master_table.csv", "master_table.csv.zip", "master_table.csv.gz")
_MASTER_COLUMNS = ("StudyID", "ImageID", "split", "PatientID", "StudyDate_DICOM", "StudyDate")
_PADCHEST_COLUMNS = ("ImageID", "StudyID", "PatientID", "StudyDate_DICOM", "Projection")
# Ids have up to 45 digits, of which a spreadsheet keeps 15: 1.23456789012345E+38.
_ROUNDED = r"^[0-9]+([.,][0-9]+)?[eE][+]?[0-9]+$"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableStudy:
    """What the master table says of a study.

    Attributes:
        patient_id: PatientID.
        split: The official split.
        time: The day, ISO 8601; empty if it is not given.
        image_ids: Its images, without suffix.
    """

    patient_id: str
    split: Split
    time: str
    image_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PadChestImage:
    """What PadChest's own table says of an image.

    Attributes:
        study_id: StudyID.
        patient_id: PatientID.
        time: The day, ISO 8601; empty if it is not given.
        projection: Its name of the view.
    """

    study_id: str
    patient_id: str
    time: str
    projection: str


@dataclass(frozen=True, slots=True)
class MasterTable:
    """The master table by study.

    Attributes:
        studies: Those that can be used.
        unusable: By study, why others cannot be used.
        split_of_unusable: Their split, where it is known.
    """

    studies: dict[str, TableStudy]
    unusable: dict[str, str]
    split_of_unusable: dict[str, Split]


def find_master_table(root: Path) -> Path:
    """Find the master table, plain or compressed as it is shipped.

    Args:
        root: The folder that holds it.

    Returns:
        The file.

    Raises:
        DataError: It is not there.
    """
    for name in _MASTER_NAMES:
        if (root / name).is_file():
            return root / name
    raise DataError(
        f"{root}: neither master_table.csv nor master_table.csv.zip is there; download it, "
        "it holds patients and splits"
    )


def read_master_table(path: Path) -> MasterTable:
    """Read the master table.

    Args:
        path: CSV, plain or compressed.

    Returns:
        One entry a study. A study whose rows disagree on patient, split or day cannot be used.

    Raises:
        DataError: The file is not of the documented form, or its ids were rounded by a spreadsheet.
    """
    table = read_columns(path, _MASTER_COLUMNS)
    _check_ids(table, ("StudyID", "PatientID"))
    rows: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for study_id, *row in zip(*(table[c].to_pylist() for c in _MASTER_COLUMNS), strict=True):
        rows[study_id].append(tuple(row))
    result = MasterTable({}, {}, {})
    for study_id, rows_of_study in rows.items():
        images, splits, patients, dicom_days, days = (
            tuple(dict.fromkeys(filter(None, cells))) for cells in zip(*rows_of_study, strict=True)
        )
        times = {iso_day(day) for day in dicom_days or days} - {""}
        split = _split_of(splits)
        reason = _reason(study_id, patients=patients, splits=splits, times=times, split=split)
        if reason:
            result.unusable[study_id or "(no StudyID)"] = reason
            if split is not None:
                result.split_of_unusable[study_id] = split
        elif split is not None:
            result.studies[study_id] = TableStudy(
                patient_id=patients[0],
                split=split,
                time=min(times, default=""),
                image_ids=tuple(dict.fromkeys(image_name(image) for image in images)),
            )
    return result


def _reason(
    study_id: str,
    *,
    patients: Collection[str],
    splits: Collection[str],
    times: Collection[str],
    split: Split | None,
) -> str:
    """Return why the rows of a study make no study; empty if they do."""
    if not study_id:
        return "StudyID is missing"
    for column, values in (("PatientID", patients), ("split", splits), ("StudyDate", times)):
        if len(values) > 1:
            return f"rows of the master table disagree on {column}"
    if not patients:
        return "PatientID is missing"
    return "" if split is not None else "split is missing or unknown"


def _split_of(names: Collection[str]) -> Split | None:
    """Return the split of a study; None if the rows name none, several or an unknown one."""
    if len(names) != 1:
        return None
    try:
        return parse_split(*names, where="split")
    except DataError:
        return None


def read_padchest_table(path: Path, image_ids: Collection[str]) -> dict[str, PadChestImage]:
    """Read what PadChest's own table says of some images.

    Args:
        path: `PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv`, plain or compressed.
        image_ids: The images, without suffix.

    Returns:
        By image; those that the table lacks are left out.

    Raises:
        DataError: The file is not of the documented form.
    """
    table = read_columns(path, _PADCHEST_COLUMNS)
    _check_ids(table, ("StudyID", "PatientID"))
    found: dict[str, PadChestImage] = {}
    cells = zip(*(table[column].to_pylist() for column in _PADCHEST_COLUMNS), strict=True)
    for name, study_id, patient_id, day, projection in cells:
        image_id = image_name(name)
        if image_id in image_ids:
            found[image_id] = PadChestImage(
                study_id=study_id,
                patient_id=patient_id,
                time=iso_day(day),
                projection=projection,
            )
    return found


def _check_ids(table: Columns, columns: tuple[str, ...]) -> None:
    for column in columns:
        row = first_row(pc.match_substring_regex(table[column], _ROUNDED))
        if row is not None:
            raise DataError(
                f"{table.where(row)}: {shown_cell(table, column, row)}, a number that a "
                "spreadsheet rounded; download the table again and leave it closed"
            )
