"""Whether the tables of a prepared set keep the rules of studies, patients and times.

Rules look at columns, never at whole studies one after the other: 200,000 studies take seconds.
A study sees nothing of its future where every prior image is current in the named prior study, and
that one is of the same patient and earlier.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from editgrpo.data.prepared.record import shown
from editgrpo.data.study import Split, Timepoint, View
from editgrpo.data.times import is_day_of, read_time
from editgrpo.data.verify.problems import PREPARE, Problem, ProblemKind, Report, of_study
from editgrpo.errors import DataError

_STUDY_COLUMNS = ("study_id", "patient_id", "split", "time", "prior_study_id", "prior_time")
_IMAGE_FIELDS = ("image_id", "view", "timepoint")
_CORRECT = "correct the source and prepare the set again"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of all studies that the rules are about, as Python lists.

    Attributes:
        study_ids: (S,).
        patients: (S,).
        splits: (S,) split of the table that a study stands in.
        times: (S,) text; empty if not given.
        priors: (S,) id of the prior study; empty if there is none.
        prior_times: (S,) text; empty if not given.
        image_rows: (I,) the study of each image, as a position in the lists above; ascending.
        image_ids: (I,).
        is_prior: (I,) True where the image is of the prior study.
    """

    study_ids: list[str]
    patients: list[str]
    splits: list[Split]
    times: list[str]
    priors: list[str]
    prior_times: list[str]
    image_rows: list[int]
    image_ids: list[str]
    is_prior: list[bool]

    def images(self) -> Iterable[tuple[int, str, bool]]:
        """Return study position, id and whether it is a prior image, for each image."""
        return zip(self.image_rows, self.image_ids, self.is_prior, strict=True)


def read_columns(tables: Mapping[Split, pa.Table], report: Report) -> Columns:
    """Take the columns of the tables, and report values that none may hold.

    Args:
        tables: The readable tables, at least one, with the columns of docs/data.md.
        report: Takes what is wrong.

    Returns:
        The columns; a value that is missing is an empty text.
    """
    table = pa.concat_tables([*tables.values()])
    studies = table.select([*_STUDY_COLUMNS, "images"]).combine_chunks()
    images = studies["images"].combine_chunks()
    flat = pc.list_flatten(images)
    _report_nulls(table, flat, report)
    texts = {name: pc.fill_null(studies[name], "").to_pylist() for name in _STUDY_COLUMNS}
    parts = {
        name: pc.fill_null(pc.struct_field(flat, name), "").to_pylist() for name in _IMAGE_FIELDS
    }
    columns = Columns(
        study_ids=texts["study_id"],
        patients=texts["patient_id"],
        splits=[split for split, part in tables.items() for _ in range(part.num_rows)],
        times=texts["time"],
        priors=texts["prior_study_id"],
        prior_times=texts["prior_time"],
        image_rows=pc.list_parent_indices(images).to_pylist(),
        image_ids=parts["image_id"],
        is_prior=[value == Timepoint.PRIOR for value in parts["timepoint"]],
    )
    _report_values(columns, texts, parts, report)
    return columns


def _report_values(
    columns: Columns,
    texts: Mapping[str, list[str]],
    parts: Mapping[str, list[str]],
    report: Report,
) -> None:
    """Report ids that are empty, and names of splits, views and time points that are none."""
    ids = columns.study_ids
    for name in ("study_id", "patient_id"):
        for owner, value in zip(ids, texts[name], strict=True):
            if not value.strip():
                report(_value(owner, f"{name} is empty"))
    for owner, said, split in zip(ids, texts["split"], columns.splits, strict=True):
        if said != split:
            report(_value(owner, f"split is {shown(said)} in the table of {split}"))
    known: dict[str, Container[str]] = {"view": {*View}, "timepoint": {*Timepoint}}
    for name, values in known.items():
        for row, value in zip(columns.image_rows, parts[name], strict=True):
            if value not in values:
                report(_value(ids[row], f"{name} is {shown(value)}"))


def verify_studies(columns: Columns, report: Report) -> None:
    """Check that ids are unique, patients are apart, and no study sees its own future.

    Args:
        columns: All studies of a set.
        report: Takes what is wrong, rule by rule in the order of the studies.
    """
    _verify_ids(columns, report)
    _verify_patients(columns, report)
    places = _verify_times(columns, report)
    current = _verify_current_images(columns, report)
    _verify_priors(columns, places, report)
    _verify_prior_images(columns, current, report)


def _report_nulls(table: pa.Table, images: pa.Array, report: Report) -> None:
    counts = {name: table[name].null_count for name in table.schema.names}
    counts |= {field.name: pc.struct_field(images, field.name).null_count for field in images.type}
    for name, count in counts.items():
        if count:
            report(
                Problem(
                    kind=ProblemKind.VALUE,
                    message=f"{count} studies or images have no {name}",
                    remedy=PREPARE,
                )
            )


def _value(study_id: str, what: str) -> Problem:
    return of_study(ProblemKind.VALUE, study_id, what, PREPARE)


def _problem(kind: ProblemKind, study_id: str, what: str) -> Problem:
    return of_study(kind, study_id, what, _CORRECT)


def _verify_ids(columns: Columns, report: Report) -> None:
    first: dict[str, Split] = {}
    for study_id, split in zip(columns.study_ids, columns.splits, strict=True):
        if study_id in first:
            what = f"stands in {first[study_id]} and again in {split}"
            report(_problem(ProblemKind.STUDY_TWICE, study_id, what))
        first.setdefault(study_id, split)


def _verify_patients(columns: Columns, report: Report) -> None:
    """Report each patient once for every further split."""
    splits: dict[str, list[Split]] = {}
    rows = zip(columns.study_ids, columns.patients, columns.splits, strict=True)
    for study_id, patient, split in rows:
        known = splits.setdefault(patient, [split])
        if split not in known:
            what = f"its patient {patient!r} stands in {known[0]} and in {split}"
            report(_problem(ProblemKind.PATIENT_IN_TWO_SPLITS, study_id, what))
            known.append(split)


def _verify_times(columns: Columns, report: Report) -> dict[str, float]:
    """Return the position in days of every time that can be read and has the form of the first."""
    places: dict[str, float] = {}
    form = ""
    refused: set[str] = set()
    for texts in (columns.times, columns.prior_times):
        for study_id, text in zip(columns.study_ids, texts, strict=True):
            if not text or text in places or text in refused:
                continue
            try:
                time = read_time(text, where=f"study {study_id!r}")
            except DataError:
                what = f"time {shown(text)} is neither a date nor a number"
            else:
                form = form or time.form
                if form == time.form:
                    places[text] = time.days
                    continue
                what = f"time {shown(text)} is a {time.form}, where others are a {form}"
            refused.add(text)
            report(_problem(ProblemKind.TIME, study_id, what))
    return places


def _verify_current_images(columns: Columns, report: Report) -> dict[str, int]:
    """Return the position of the study that each current image belongs to."""
    current: dict[str, int] = {}
    of_study: set[str] = set()
    last_row = -1
    for row, image_id, is_prior in columns.images():
        if row != last_row:
            of_study, last_row = set(), row
        study_id = columns.study_ids[row]
        if image_id in of_study:
            what = f"image {image_id!r} stands in it twice"
            report(_problem(ProblemKind.IMAGE_TWICE, study_id, what))
            continue
        of_study.add(image_id)
        if is_prior:
            continue
        owner = current.setdefault(image_id, row)
        if owner != row:
            what = f"image {image_id!r} is current here and in {columns.study_ids[owner]!r}"
            report(_problem(ProblemKind.IMAGE_OF_TWO_STUDIES, study_id, what))
    return current


def _verify_priors(columns: Columns, places: Mapping[str, float], report: Report) -> None:
    """Check the prior study that a study names, itself if it is in the set."""
    row_of = {study_id: row for row, study_id in enumerate(columns.study_ids)}
    for row, prior in enumerate(columns.priors):
        if not prior:
            continue
        study_id, prior_row = columns.study_ids[row], row_of.get(prior)
        time, prior_time = columns.times[row], columns.prior_times[row]
        if prior_row is not None:
            if columns.patients[prior_row] != columns.patients[row]:
                what = f"its prior {prior!r} is of another patient"
                report(_problem(ProblemKind.PRIOR_OF_OTHER_PATIENT, study_id, what))
            if columns.times[prior_row] != prior_time:
                what = f"the time of its prior {prior!r} is not the one that stands there"
                report(_problem(ProblemKind.PRIOR_TIME, study_id, what))
            prior_time = columns.times[prior_row]
        if prior_row is not None and not (time in places and prior_time in places):
            # No time says which is earlier; of two that name each other, one must be wrong.
            is_later = columns.priors[prior_row] == study_id
        else:
            is_later = not _may_be_earlier(prior_time, time, places)
        if is_later:
            what = f"its prior {prior!r} is not earlier"
            report(_problem(ProblemKind.PRIOR_NOT_EARLIER, study_id, what))


def _may_be_earlier(first: str, second: str, places: Mapping[str, float]) -> bool:
    """Return False only if both times are known and the first is not surely earlier."""
    if first not in places or second not in places:
        return True
    return places[first] < places[second] and not is_day_of(first, second)


def _verify_prior_images(columns: Columns, current: Mapping[str, int], report: Report) -> None:
    """Check that prior images are of the study that is named as prior.

    Of a prior study that is in the set, images that it does not show itself may be shown: it may
    have more than it shows.
    """
    first_row: dict[str, int] = {}
    for row, image_id, is_prior in columns.images():
        if not is_prior:
            continue
        study_id, prior = columns.study_ids[row], columns.priors[row]
        if not prior:
            what = f"image {image_id!r} is a prior one, and no prior study is named"
            report(_problem(ProblemKind.PRIOR_UNNAMED, study_id, what))
            continue
        owner, first = current.get(image_id), first_row.setdefault(image_id, row)
        if owner is not None:
            if columns.study_ids[owner] != prior:
                what = f"prior image {image_id!r} is of {columns.study_ids[owner]!r}, not {prior!r}"
                report(_problem(ProblemKind.PRIOR_IMAGE, study_id, what))
        elif (columns.priors[first], columns.patients[first]) != (prior, columns.patients[row]):
            what = (
                f"prior image {image_id!r} is of {prior!r} here, and of another study or patient "
                f"in {columns.study_ids[first]!r}"
            )
            report(_problem(ProblemKind.PRIOR_IMAGE, study_id, what))
