"""A user's own table of studies: CSV or JSON lines, one row an image or one row a study.

The user says which column holds which field. Rows with one study_id are one study. Where times are
given, the images of a patient's most recent earlier study become prior images.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from editgrpo.data.columns import Columns
from editgrpo.data.missing import has_text, is_given
from editgrpo.data.prepare import Candidates, Inclusion, PrepareSummary, finish
from editgrpo.data.priors import attach_priors
from editgrpo.data.record import SECTIONS, shown
from editgrpo.data.splits import SplitRule, parse_split
from editgrpo.data.store import Rejection
from editgrpo.data.study import Study, StudyImage
from editgrpo.data.table import Row, read_table
from editgrpo.data.views import normalise_view
from editgrpo.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSource:
    """Where a user's studies stand."""

    table: Path
    """CSV with a header, or JSON lines (`.jsonl`)."""

    columns: Mapping[str, str]
    """Field to column; `columns.parse_column_map` reads it from a command line."""

    images: Path | None = None
    """Where relative image paths start; None is the table's own folder."""

    separator: str | None = None
    """Stands between several paths, or views, in one cell; None takes a cell as one."""

    delimiter: str | None = None
    """Between CSV cells; None finds it in the header."""

    encoding: str = "utf-8"
    """Of a CSV file."""


@dataclass(slots=True)
class _Draft:
    """What the rows of one study say; a field maps each value to the row where it first stood."""

    fields: dict[str, dict[str, str]]
    images: dict[str, StudyImage]

    def value(self, name: str) -> str:
        return next(iter(self.fields[name]), "")

    def where(self, name: str) -> str:
        return next(iter(self.fields[name].values()))

    def disagreement(self) -> str | None:
        return next((name for name, values in self.fields.items() if len(values) > 1), None)


def prepare_folder(
    source: TableSource,
    output: Path | str,
    *,
    split_rule: SplitRule | None = None,
    inclusion: Inclusion | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PrepareSummary:
    """Turn a table into a folder of studies.

    Args:
        source: The table, and which column holds what.
        output: Folder of the studies; made if missing.
        split_rule: Used where no split column is mapped; None takes its defaults.
        inclusion: Which studies are kept; None takes its defaults.
        progress: Called with (images checked, images in all).

    Returns:
        The account of what was kept and left out.

    Raises:
        ConfigError: The column map does not fit the table.
        DataError: The table or a cell cannot be understood, or no study is kept.
    """
    table = read_table(source.table, delimiter=source.delimiter, encoding=source.encoding)
    inclusion = inclusion or Inclusion()
    columns = Columns(source.columns, table, require_image=inclusion.require_images)
    rule = split_rule or SplitRule()
    unrecognised: Counter[str] = Counter()
    drafts: dict[str, _Draft] = {}
    rejections: list[Rejection] = []
    for row in table.rows:
        study_id = columns.text(row, "study_id", joint="_")
        if not study_id:
            line = row.where.rpartition(", ")[2]
            rejections.append(Rejection(study_id=f"({line})", image=None, reason="no study_id"))
            continue
        draft = drafts.setdefault(study_id, _Draft({}, {}))
        _add_row(draft, row, columns, source, unrecognised)
    studies, disagreements = _studies(drafts, columns, rule)
    facts = {
        "rows": len(table.rows),
        "with findings": sum(bool(study.findings) for study in studies),
    }
    if "time" in columns:
        times = _times(drafts, source)
        facts["with a time"] = len(times)
        studies = attach_priors(studies, times)
    return finish(
        Candidates(
            studies=studies,
            seen=len(drafts) + len(rejections),
            split_rule=_describe(source, columns, rule),
            rejections=rejections + disagreements,
            facts=facts,
            unrecognised_views=unrecognised,
        ),
        Path(output),
        inclusion=inclusion,
        progress=progress,
    )


def _add_row(
    draft: _Draft, row: Row, columns: Columns, source: TableSource, unrecognised: Counter[str]
) -> None:
    for name in ("patient_id", "split", "time", *SECTIONS):
        values = draft.fields.setdefault(name, {})
        text = columns.text(row, name, joint="_" if name == "patient_id" else " ")
        if has_text(text):
            values.setdefault(" ".join(text.split()), row.where)
    root = source.images if source.images is not None else source.table.parent
    for path, view in columns.images(row, source.separator):
        image = StudyImage(
            path=str(root / path), view=normalise_view(view, unrecognised=unrecognised)
        )
        draft.images.setdefault(image.path, image)


def _studies(
    drafts: Mapping[str, _Draft], columns: Columns, rule: SplitRule
) -> tuple[list[Study], list[Rejection]]:
    studies: list[Study] = []
    rejections: list[Rejection] = []
    for study_id, draft in drafts.items():
        patient_id = draft.value("patient_id") if "patient_id" in columns else study_id
        problem = draft.disagreement()
        if problem is not None or not patient_id:
            reason = f"its rows disagree on {problem}" if problem else "no patient_id"
            rejections.append(Rejection(study_id=study_id, image=None, reason=reason))
            continue
        split = rule.split_of(patient_id)
        if "split" in columns:
            name = draft.value("split")
            where = draft.where("split") if name else f"study {study_id!r}"
            split = parse_split(name, where=f"{where}: split")
        studies.append(
            Study(
                study_id=study_id,
                patient_id=patient_id,
                split=split,
                images=tuple(draft.images.values()),
                **{name: draft.value(name) for name in SECTIONS},
            )
        )
    return studies, rejections


def _times(drafts: Mapping[str, _Draft], source: TableSource) -> dict[str, float]:
    """Return the time of every study that has one, on one scale."""
    times: dict[str, float] = {}
    kind_of_first: str | None = None
    for study_id, draft in drafts.items():
        if not is_given(draft.value("time")):
            continue
        times[study_id], kind = _parse_time(draft.value("time"), draft.where("time"))
        kind_of_first = kind_of_first or kind
        if kind != kind_of_first:
            raise DataError(
                f"{draft.where('time')}: time is a {kind}, but a {kind_of_first} further up; use "
                "one form for the whole column"
            )
    if not times:
        raise DataError(f"{source.table}: the time column is empty; leave it out of the map")
    return times


def _parse_time(text: str, where: str) -> tuple[float, str]:
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if math.isfinite(number):
            return number, "number"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise DataError(
            f"{where}: time is {shown(text)}; give a number, such as days, or a date as 2024-03-31"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp(), "date"


def _describe(source: TableSource, columns: Columns, rule: SplitRule) -> str:
    return f"column {source.columns['split']!r}" if "split" in columns else rule.describe()
