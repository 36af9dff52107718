"""CheXpert Plus: 223,462 films of 64,725 patients, a row each, with the sections of their reports.

The set gives no dates: `patient_report_date_order` counts the reports of a patient, so a prior is
known and how long ago it was is not. Left out: the labels, RadGraph's annotations and the
demographics.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editgrpo.data.chexpert_plus.files import find_images, find_table
from editgrpo.data.given_values import is_given, section_text
from editgrpo.data.prepare import Candidates
from editgrpo.data.prepared.flow import with_sections
from editgrpo.data.prepared.record import shown
from editgrpo.data.prepared.store import Rejection
from editgrpo.data.priors import attach_priors
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.readers.csv_columns import Columns, read_columns
from editgrpo.data.splits import SplitRule, parse_split
from editgrpo.data.study import Split, Study, StudyImage, View
from editgrpo.data.views import normalise_view
from editgrpo.errors import DataError

_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "indication": ("section_clinical_history", "section_history"),
    "technique": ("section_technique",),
    "comparison": ("section_comparison",),
    "findings": ("section_findings",),
    "impression": ("section_impression",),
}
"""Columns of each section; the first that says something is taken."""

_ORDER = "patient_report_date_order"
_COLUMNS = (
    "path_to_image",
    "frontal_lateral",
    "ap_pa",
    "deid_patient_id",
    _ORDER,
    "split",
    *(column for columns in _SECTIONS.values() for column in columns),
)
# train/patient64545/study1/view1_frontal.jpg, whatever stands before and after.
_PATH = re.compile(r"(?:.*/)?((?:train|valid)/(patient\d+)/(study\d+)/([\w-]+))\.\w+(?:\.gz)?")
_WHOLE = re.compile(r"(\d+)(?:\.0+)?")
_SUFFIXES = (".png", ".jpg", ".dcm", ".dcm.gz")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheXpertPlusSource:
    """Where the files of CheXpert Plus are, and what is made of them."""

    root: Path
    """The folder of the table; films are looked for in it."""

    table: Path | None = None
    """The table of reports, if it lies elsewhere."""

    images: Path | None = None
    """The folder of `train` and `valid`, or one above, if it lies elsewhere. Of PNG, JPEG or DICOM
    files, the first that is there is taken."""

    priors: bool = True
    """Show the films of the report before, by `patient_report_date_order`."""

    draw_splits: bool = False
    """Draw patients into splits; else the set's own `train` and `valid` are train and
    validation."""


def read_chexpert_plus(source: CheXpertPlusSource, how: ReadOptions | None = None) -> Candidates:
    """Read the table into studies; no film is opened.

    Args:
        source: The files.
        how: The split rule is used with `draw_splits`. None takes the defaults.

    Returns:
        Every study that could be put together, and why others could not.

    Raises:
        DataError: A file is missing or not of the documented form.
    """
    how = how or ReadOptions()
    path = find_table(source.root, source.table)
    folder = find_images(source.root, source.images, must_exist=how.images_must_exist)
    columns = read_columns(path, _COLUMNS)
    rows_of_study: dict[str, list[_Row]] = defaultdict(list)
    unrecognised: Counter[str] = Counter()
    for row in _rows(columns, unrecognised):
        rows_of_study[row.study_id].append(row)
    rule = how.split_rule if source.draw_splits else None
    studies: list[Study] = []
    rejections: list[Rejection] = []
    for study_id, rows in rows_of_study.items():
        study = _study(study_id, rows, rule)
        if isinstance(study, Study):
            studies.append(study)
        else:
            rejections.append(study)
    facts = with_sections(studies)
    if source.priors:
        studies = attach_priors(studies)
    return Candidates(
        dataset="chexpert-plus",
        images_option="--images",
        # Positions, not days: what is said of time must be true.
        studies=[replace(study, time="", prior_time="") for study in studies],
        image_files={
            row.image_id: f"{folder}/{row.path}" for rows in rows_of_study.values() for row in rows
        },
        suffixes=_SUFFIXES,
        split_rule=how.split_rule.describe()
        if rule
        else "official: train, and valid as validation",
        rejections=rejections,
        facts=facts,
        unrecognised_views=unrecognised,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A film and the report that it belongs to."""

    study_id: str
    patient_id: str
    image_id: str
    path: str
    view: View
    split: Split
    order: str
    sections: Mapping[str, Any]


def _rows(columns: Columns, unrecognised: Counter[str]) -> Iterator[_Row]:
    cells = {name: columns[name].to_pylist() for name in _COLUMNS}
    for number, path in enumerate(cells["path_to_image"]):
        found = _PATH.fullmatch(path)
        if found is None:
            raise DataError(
                f"{columns.where(number)}: path_to_image is {shown(path)}; it must look like "
                "train/patient64545/study1/view1_frontal.jpg"
            )
        place, folder, study, film = found.groups()
        split_name = cells["split"][number] or place.partition("/")[0]
        study_id = f"{folder}_{study}"
        yield _Row(
            study_id=study_id,
            patient_id=cells["deid_patient_id"][number],
            image_id=f"{study_id}_{film}",
            path=place,
            view=_view(cells["frontal_lateral"][number], cells["ap_pa"][number], unrecognised),
            split=parse_split(split_name, where=f"{columns.path}, row {number + 1}: split"),
            order=_position(cells[_ORDER][number]),
            sections={
                name: next(
                    filter(None, (section_text(cells[one][number], name) for one in names)), ""
                )
                for name, names in _SECTIONS.items()
            },
        )


def _view(side: str, direction: str, unrecognised: Counter[str]) -> View:
    """Return the projection; AP and PA count for frontal films alone."""
    of_side = normalise_view(side, unrecognised=unrecognised)
    if of_side is not View.FRONTAL or not is_given(direction):
        return of_side
    of_direction = normalise_view(direction, unrecognised=unrecognised)
    return of_direction if of_direction in (View.AP, View.PA) else of_side


def _position(text: str) -> str:
    """Return a report's place among those of its patient; empty if it has none."""
    found = _WHOLE.fullmatch(text)
    return found[1] if found else ""


def _study(study_id: str, rows: list[_Row], rule: SplitRule | None) -> Study | Rejection:
    first = rows[0]
    if not is_given(first.patient_id):
        reason = "no deid_patient_id"
        return Rejection(study_id=study_id, image=None, reason=reason, split=first.split)
    split = first.split if rule is None else rule.split_of(first.patient_id)
    for name in ("patient_id", "split", "order", "sections"):
        if any(getattr(row, name) != getattr(first, name) for row in rows):
            what = {"order": _ORDER, "sections": "their report"}.get(name, name)
            return Rejection(
                study_id=study_id, image=None, reason=f"its rows disagree on {what}", split=split
            )
    films = {row.image_id: row.view for row in rows}
    return Study(
        study_id=study_id,
        patient_id=first.patient_id,
        split=split,
        images=tuple(StudyImage(image_id=name, view=view) for name, view in films.items()),
        time=first.order,
        **first.sections,
    )
