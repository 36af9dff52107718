"""Prepared studies on disk: one memory-mapped Arrow table for each split.

Callers see a set of studies as a `Sequence[Study]`. Nothing is parsed on loading; a study is made
when it is asked for. docs/data.md describes the folder; `prepare.py` writes it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc

from editgrpo.config import Target
from editgrpo.data.prepared.arrow_files import (
    FileStamp,
    check_stamp,
    file_stamp,
    read_arrow,
    write_or_remove,
)
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.prepared.record import check_study, studies_from_batch, study_to_row
from editgrpo.data.study import Split, Study
from editgrpo.errors import DataError
from editgrpo.foreign import reading

STUDIES_FOLDER = "studies"
PREPARED_FILE = "prepared.json"
UNFINISHED_FILE = "unfinished.json"
REJECTED_FILE = "rejected.jsonl"
ANNOTATIONS_FOLDER = "annotations"
"""Where `editgrpo annotate` puts what models read in the references; not part of the set."""
FORM = 1
"""Of the folder; raised when an older one can no longer be read."""

_SCHEMA = pa.schema(
    [
        ("study_id", pa.string()),
        ("patient_id", pa.string()),
        ("split", pa.string()),
        ("time", pa.string()),
        ("prior_study_id", pa.string()),
        ("prior_time", pa.string()),
        (
            "images",
            pa.list_(
                pa.struct(
                    [("image_id", pa.string()), ("view", pa.string()), ("timepoint", pa.string())]
                )
            ),
        ),
        ("indication", pa.string()),
        ("technique", pa.string()),
        ("comparison", pa.string()),
        ("findings", pa.string()),
        ("impression", pa.string()),
    ]
)
# Rows made into studies at once when a set is walked through.
_BATCH = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """Something that was left out, and why.

    Attributes:
        study_id: The study.
        image: Id of the image that was left out; None if the whole study was.
        reason: One short phrase, without report text.
        split: Of the study; None where it is not known.
    """

    study_id: str
    image: str | None
    reason: str
    split: Split | None = None


class StudySet(Sequence[Study]):
    """The studies of a folder, or of one of its splits, in file order.

    The files stay mapped: replacing the folder does not change a set that is already loaded.

    Attributes:
        folder: The prepared folder.
        table: The columns, see docs/data.md.
        images: The images of the folder.
    """

    def __init__(self, folder: Path, table: pa.Table, origin: "_Origin") -> None:
        """Use `load` instead, which checks the files.

        Args:
            folder: The prepared folder.
            table: The studies.
            origin: Where they stand in the files.
        """
        self.folder = folder
        self.table = table
        self._origin = origin
        self._images: ImageStore | None = None

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        split: Split | None = None,
        target: Target = Target.FINDINGS,
        needs_reference: bool = False,
    ) -> "StudySet":
        """Map the studies of a folder.

        Args:
            folder: A folder written by `editgrpo prepare`.
            split: Keep only the studies of this split; None keeps all.
            target: What is asked for of the studies.
            needs_reference: Keep only the studies that have all sections of the target.

        Returns:
            The studies in file order; none if the split has none.

        Raises:
            DataError: The preparation is not complete, or a file of it is missing or damaged.
        """
        folder = Path(folder)
        # A split without studies has no table, so only the account tells it from one that is lost.
        listed = read_prepared(folder)["files"]
        paths = [
            path
            for path in (table_path(folder, part) for part in Split if split in (part, None))
            if path.relative_to(folder).as_posix() in listed
        ]
        stamps = {path: file_stamp(path) for path in paths}
        tables = [_read_table(path) for path in paths]
        table = pa.concat_tables(tables) if tables else _SCHEMA.empty_table()
        every = table.num_rows
        if needs_reference:
            table = _with_sections(table, target)
        rows = range(table.num_rows)
        left_out = every - len(rows)
        return cls(folder, table, _Origin(split, rows, stamps, target, needs_reference, left_out))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place alone: the process that gets the set maps it itself."""
        return _load_again, (self.folder, self._origin)

    @property
    def images(self) -> ImageStore:
        """The images of the folder; opened when first asked for."""
        if self._images is None:
            self._images = ImageStore.open(self.folder)
        return self._images

    @property
    def left_out(self) -> int:
        """How many studies were left out on loading, as they lack a section of the target."""
        return self._origin.left_out

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Study]:
        return _studies(self.table, self._origin, where=str(self.folder))

    @overload
    def __getitem__(self, index: int) -> Study: ...
    @overload
    def __getitem__(self, index: slice) -> "StudySet": ...
    def __getitem__(self, index: int | slice) -> "Study | StudySet":
        if isinstance(index, slice):
            part = range(len(self))[index]
            origin = replace(self._origin, rows=self._origin.rows[index])
            return StudySet(self.folder, _rows_of(self.table, part), origin)
        position = range(len(self))[index]
        row = self.table.slice(position, 1)
        (study,) = _studies(row, self._origin, where=f"{self.folder}, row {position}")
        return study

    def __repr__(self) -> str:
        return f"StudySet({str(self.folder)!r}, {len(self)} studies)"

    def find(self, study_id: str) -> Study | None:
        """Return the study of an id; None if there is none."""
        position = pc.index(self.table["study_id"], pa.scalar(study_id)).as_py()
        return None if position < 0 else self[position]


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where the rows of a set are: the split that was loaded, which of its rows (of those with a
    reference, perhaps), from which files, what is asked for, and how many lack it."""

    split: Split | None
    rows: range
    stamps: Mapping[Path, FileStamp]
    target: Target
    needs_reference: bool
    left_out: int


def _load_again(folder: Path, origin: _Origin) -> StudySet:
    for path, stamp in origin.stamps.items():
        check_stamp(path, stamp)
    whole = StudySet.load(
        folder,
        split=origin.split,
        target=origin.target,
        needs_reference=origin.needs_reference,
    )
    return StudySet(folder, _rows_of(whole.table, origin.rows), origin)


def _studies(table: pa.Table, origin: _Origin, *, where: str) -> Iterator[Study]:
    for batch in table.to_batches(max_chunksize=_BATCH):
        yield from studies_from_batch(batch, where=where, target=origin.target)


def _with_sections(table: pa.Table, target: Target) -> pa.Table:
    """Return the rows that have all sections of a target; the mapped table itself if all do."""
    for name in target.sections:
        has_section = pc.not_equal(table[name], "")
        if not pc.all(has_section).as_py():
            table = table.filter(has_section)
    return table


def _rows_of(table: pa.Table, rows: range) -> pa.Table:
    if rows.step == 1:
        return table.slice(rows.start, len(rows))
    return table.take(pa.array(rows, pa.int64()))


def table_path(folder: Path, split: Split) -> Path:
    """Return where the studies of a split are."""
    return folder / STUDIES_FOLDER / f"{split.value}.arrow"


def read_prepared(folder: Path) -> dict[str, Any]:
    """Read what a folder says of its own preparation.

    Args:
        folder: A prepared folder.

    Returns:
        The content of `prepared.json`, see docs/data.md.

    Raises:
        DataError: There is none, the preparation was not finished, or it has another form.
    """
    path = folder / PREPARED_FILE
    if not path.exists():
        if (folder / UNFINISHED_FILE).exists():
            raise DataError(
                f"{folder}: its preparation was not finished; run the same command with --resume"
            )
        fault = f"holds no {PREPARED_FILE}" if folder.is_dir() else "no such folder"
        raise DataError(f"{folder}: {fault}; give a folder written by `editgrpo prepare`")
    with reading(path, "prepare the set again", fault="cannot be read as JSON"):
        prepared: Any = json.loads(path.read_bytes())
    if not isinstance(prepared, dict) or prepared.get("form") != FORM:
        raise DataError(f"{path}: is not of form {FORM}; prepare the set again with this version")
    if not isinstance(prepared.get("files"), dict):
        raise DataError(f"{path}: lists no files; prepare the set again")
    return prepared


def check_studies(folder: Path, studies: Iterable[Study]) -> None:
    """Check that studies can be written into one folder, and will be read back as they are.

    Args:
        folder: Where they shall stand.
        studies: All studies of the folder.

    Raises:
        DataError: Two studies share a study_id, or a study cannot be written as it is.
    """
    seen: set[str] = set()
    for study in studies:
        if study.study_id in seen:
            raise DataError(f"{folder}: study_id {study.study_id!r} would be in it twice")
        seen.add(study.study_id)
        check_study(study, where=str(folder))


def write_tables(folder: Path, studies: Iterable[Study]) -> dict[Split, int]:
    """Write the tables of a folder, one for each split that has studies.

    Args:
        folder: Made if missing.
        studies: In the order in which they shall stand within their split.

    Returns:
        How many studies each split has.

    Raises:
        DataError: Two studies share a study_id, a study cannot be written as it is, there is none,
            or the folder cannot be written to.
        StorageError: There is no room, or the disk is out of order.
    """
    studies = list(studies)
    check_studies(folder, studies)
    if not studies:
        raise DataError(f"{folder}: there is no study to write")
    rows = {split: [study for study in studies if study.split is split] for split in Split}
    for split, part in rows.items():
        write_or_remove(table_path(folder, split), _table(part) if part else None)
    return {split: len(part) for split, part in rows.items()}


def _table(studies: Sequence[Study]) -> pa.Table:
    batches = (
        pa.RecordBatch.from_pylist(
            [study_to_row(study) for study in studies[start : start + _BATCH]], schema=_SCHEMA
        )
        for start in range(0, len(studies), _BATCH)
    )
    return pa.Table.from_batches(batches, schema=_SCHEMA)


def _read_table(path: Path) -> pa.Table:
    table = read_arrow(path)
    if not table.schema.equals(_SCHEMA):
        raise DataError(f"{path}: is not a table of studies; prepare the set again")
    return table
