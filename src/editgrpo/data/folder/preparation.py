"""A user's own table of studies: CSV or JSON lines, one row an image or one row a study.

The user says which column holds which field. Rows with one study_id are one study. Where times are
given, the images of a patient's most recent earlier study become prior images.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from editgrpo.config import Target
from editgrpo.data.folder.columns import Columns
from editgrpo.data.folder.faults import Faults
from editgrpo.data.folder.images import ImageFolder
from editgrpo.data.given_values import is_given, is_identifier, section_text
from editgrpo.data.prepare import Candidates
from editgrpo.data.prepared.flow import with_sections
from editgrpo.data.prepared.record import SECTIONS, shown
from editgrpo.data.prepared.store import Rejection
from editgrpo.data.priors import attach_priors
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.readers.table import Row, Table, read_table
from editgrpo.data.splits import SplitRule, parse_split
from editgrpo.data.study import Split, Study, StudyImage, View
from editgrpo.data.times import Time, is_impossible_date, read_dated
from editgrpo.data.views import NO_NAMES, normalise_view
from editgrpo.errors import DataError

Place = Callable[[str, str], tuple[str, str]]
"""Takes the cell that names an image, and where it stands; returns the image's id, and its file or
its place in one (`packed_images.py`)."""

_ONE_VALUE = ("patient_id", "split", "time", *SECTIONS)  # fields on which a study's rows must agree


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSource:
    """Where a user's studies are."""

    table: Path
    """CSV with a header, or JSON lines (`.jsonl`)."""

    columns: Mapping[str, str]
    """Field to column; `columns.parse_column_map` reads it from a command line."""

    images: Path | None = None
    """Where relative image paths start; None is the table's own folder."""

    follow_links: bool = False
    """Whether an image may be a symbolic link that leads out of the folder of images."""

    separator: str | None = None
    """Stands between several paths, or views, in one cell; None takes a cell as one."""

    delimiter: str | None = None
    """Between CSV cells; None finds it in the header."""

    encoding: str = "utf-8"
    """Of a CSV file."""

    date_format: str | None = None
    """How times are written, as `datetime.strptime` reads it; None takes ISO 8601 and numbers."""

    view_names: Mapping[str, View] = field(default_factory=dict)
    """Names of projections of one's own; `views.parse_view_names` reads them."""


@dataclass(slots=True)
class _Draft:
    """What the rows of one study say.

    Attributes:
        rows: How many they are.
        values: Field to the first value that is given.
        where: Field to the row of that value.
        images: Id to view.
        disputed: Fields that another row gives another value.
    """

    rows: int = 0
    values: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    images: dict[str, View] = field(default_factory=dict)
    disputed: frozenset[str] = frozenset()

    def add(self, name: str, text: str, where: str) -> None:
        if self.values.setdefault(name, text) != text:
            self.disputed |= {name}
        self.where.setdefault(name, where)


def read_folder(source: TableSource, how: ReadOptions | None = None) -> Candidates:
    """Read all studies of a table.

    Args:
        source: The table, and which column holds what.
        how: The split rule is used where no split column is mapped; images that are needed ask for
            a column of images. None takes the defaults.

    Returns:
        The studies, before anything is left out.

    Raises:
        ConfigError: The column map does not fit the table.
        DataError: The table or cells cannot be understood; the message counts these cells.
    """
    table = read_table(source.table, delimiter=source.delimiter, encoding=source.encoding)
    folder = source.images if source.images is not None else source.table.parent
    return read_rows(
        table,
        source.columns,
        ImageFolder(folder, follow_links=source.follow_links).place,
        how or ReadOptions(),
        separator=source.separator,
        date_format=source.date_format,
        view_names=source.view_names,
    )


def read_rows(
    table: Table,
    mapped: Mapping[str, str],
    place: Place,
    how: ReadOptions,
    *,
    separator: str | None = None,
    date_format: str | None = None,
    view_names: Mapping[str, View] = NO_NAMES,
    dataset: str = "folder",
) -> Candidates:
    """Read all studies of a table that is in memory.

    Args:
        table: Its rows.
        mapped: Field to column.
        place: Where its images are.
        how: As of `read_folder`.
        separator: Between several paths, or views, in one cell.
        date_format: As of `TableSource`.
        view_names: As of `TableSource`.
        dataset: Key of `card.DATASETS`.

    Returns:
        The studies, before anything is left out.

    Raises:
        ConfigError: The column map does not fit the table.
        DataError: Cells cannot be understood; the message counts them.
    """
    columns = Columns(mapped, table, require_image=how.require_images)
    reader = _RowReader(place, columns, separator, view_names)
    faults = Faults(table.path)
    for row in table.rows:
        with faults.kept():
            reader.add(row)
    times = _times(reader.drafts, date_format, faults) if "time" in columns else {}
    studies: list[Study] = []
    rejections = reader.rejections
    for study_id, draft in reader.drafts.items():
        with faults.kept():
            study = _study(study_id, draft, columns, how.split_rule, time=times.get(study_id, ""))
            if isinstance(study, Study):
                studies.append(study)
            else:
                rejections.append(study)
    faults.raise_together()
    column = mapped.get("split")
    return Candidates(
        dataset=dataset,
        images_option="--images",
        studies=attach_priors(studies),
        image_files=reader.image_files,
        split_rule=how.split_rule.describe() if column is None else f"column {column!r}",
        rejections=rejections,
        facts=_facts(studies, reader.drafts, with_time="time" in columns),
        unrecognised_views=reader.unrecognised,
    )


class _RowReader:
    """Puts the rows of each study together."""

    def __init__(
        self,
        place: Place,
        columns: Columns,
        separator: str | None,
        view_names: Mapping[str, View],
    ) -> None:
        self._columns = columns
        self._separator = separator
        self._view_names = view_names
        self._place = place
        self._fields = [name for name in _ONE_VALUE if name in columns]
        self.drafts: dict[str, _Draft] = {}
        self.rejections: list[Rejection] = []
        self.image_files: dict[str, str] = {}
        self.unrecognised: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        study_id = self._columns.identifier(row, "study_id")
        if not is_identifier(study_id):
            line = row.where.rpartition(", ")[2]
            self.rejections.append(
                Rejection(study_id=f"({line})", image=None, reason="no study_id")
            )
            return
        draft = self.drafts.setdefault(study_id, _Draft())
        draft.rows += 1
        for name in self._fields:
            read = self._columns.identifier if name == "patient_id" else self._columns.text
            text = read(row, name)
            if text == draft.values.get(name):
                continue  # rows of one study mostly repeat each other
            text = section_text(text, name) if name in SECTIONS else _given(text)
            if text:
                draft.add(name, text, row.where)
        for path, view in self._columns.images(row, self._separator):
            if not is_identifier(path):
                continue  # as pandas writes a cell without a path
            image_id, file = self._place(path, row.where)
            self.image_files.setdefault(image_id, file)
            known = normalise_view(view, unrecognised=self.unrecognised, own=self._view_names)
            draft.images.setdefault(image_id, known)


def _given(text: str) -> str:
    return " ".join(text.split()) if is_given(text) else ""


def _study(
    study_id: str, draft: _Draft, columns: Columns, rule: SplitRule, *, time: str
) -> Study | Rejection:
    problem = next((name for name in _ONE_VALUE if name in draft.disputed), None)
    patient_id = draft.values.get("patient_id", "") if "patient_id" in columns else study_id
    split: Split | None = None
    if not draft.disputed & {"patient_id", "split"} and patient_id:
        split = rule.split_of(patient_id)
    if "split" in columns and "split" not in draft.disputed:
        where = draft.where.get("split", f"study {study_id!r}")
        split = parse_split(draft.values.get("split", ""), where=f"{where}: split")
    if problem is not None or not patient_id or split is None:
        reason = f"its rows disagree on {problem}" if problem else "no patient_id"
        return Rejection(study_id=study_id, image=None, reason=reason, split=split)
    sections: dict[str, Any] = {name: draft.values.get(name, "") for name in SECTIONS}
    return Study(
        study_id=study_id,
        patient_id=patient_id,
        split=split,
        images=tuple(StudyImage(image_id=name, view=view) for name, view in draft.images.items()),
        time=time,
        **sections,
    )


def _times(drafts: Mapping[str, _Draft], date_format: str | None, faults: Faults) -> dict[str, str]:
    """Return the time of every study that has one, all in one form."""
    times: dict[str, str] = {}
    first: Time | None = None
    for study_id, draft in drafts.items():
        time = draft.values.get("time", "")
        if not time:
            continue
        with faults.kept():
            read = _time(time, date_format, draft.where["time"], first)
            first = first or read
            times[study_id] = read.text
    if not times and not faults:
        raise DataError(f"{faults.table}: the time column is empty; leave it out of the map")
    return times


def _time(text: str, date_format: str | None, where: str, first: Time | None) -> Time:
    read = read_dated(text, date_format, where=where)
    if first is not None and read.form != first.form:
        raise DataError(
            f"{where}: time is a {read.form}, but a {first.form} earlier in the column; use one "
            "form for the whole column"
        )
    if is_impossible_date(read):
        raise DataError(f"{where}: time is {shown(text)}, no date of the calendar; correct it")
    return read


def _facts(
    studies: Sequence[Study], drafts: Mapping[str, _Draft], *, with_time: bool
) -> dict[str, Counter[Split]]:
    rows: Counter[Split] = Counter()
    timed: Counter[Split] = Counter()
    for study in studies:
        rows[study.split] += drafts[study.study_id].rows
        timed[study.split] += bool(study.time)
    facts = {"rows": rows, **with_sections(studies, Target.FINDINGS)}
    return facts | {"with a time": timed} if with_time else facts
