"""Studies on disk: a folder with `studies.jsonl`, one study a line, and `rejected.jsonl` beside it.

Callers see a set of studies as a `Sequence[Study]`. Only the position of each line is kept in
memory; a study is parsed when it is asked for.
"""

import mmap
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, overload

from editgrpo.data.record import study_from_record, study_to_record
from editgrpo.data.study import Split, Study, StudyImage
from editgrpo.errors import DataError
from editgrpo.files import parse_json_object, write_jsonl

STUDIES_FILE = "studies.jsonl"
REJECTED_FILE = "rejected.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """Something that was left out, and why.

    Attributes:
        study_id: The study.
        image: Path of the image that was left out; None if the whole study was.
        reason: One short phrase, without report text.
    """

    study_id: str
    image: str | None
    reason: str


class StudySet(Sequence[Study]):
    """The studies of a folder, or of one of its splits, in file order.

    The file stays open: replacing `studies.jsonl` does not change a set that is already loaded.
    """

    def __init__(self, folder: Path, positions: Sequence[int]) -> None:
        """Use `load` instead, which checks the file.

        Args:
            folder: The folder that holds `studies.jsonl`.
            positions: Byte offset of the line of each study.
        """
        self.folder = folder
        self._positions = array("Q", positions)
        self._open()

    @classmethod
    def load(cls, folder: Path | str, *, split: Split | None = None) -> "StudySet":
        """Check every line of a folder's `studies.jsonl` and return its studies.

        Args:
            folder: A folder written by `editgrpo prepare` or by `write_studies`.
            split: Keep only the studies of this split; None keeps all.

        Returns:
            The studies in file order; none if the split has none.

        Raises:
            DataError: The file is missing, or a line is not a study of the documented form, or two
                lines have one study_id. The message names file, line and field.
        """
        folder = Path(folder)
        path = folder / STUDIES_FILE
        positions: list[int] = []
        line_of_study: dict[str, int] = {}
        for number, position, line in _lines(path):
            study = _parse(line, where=f"{path}, line {number}")
            first = line_of_study.setdefault(study.study_id, number)
            if first != number:
                raise DataError(
                    f"{path}, line {number}: field 'study_id' repeats line {first}; make it unique"
                )
            if split is None or study.split is split:
                positions.append(position)
        if not line_of_study:
            raise DataError(f"{path}: holds no study; run `editgrpo prepare` again")
        return cls(folder, positions)

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Study: ...
    @overload
    def __getitem__(self, index: slice) -> "StudySet": ...
    def __getitem__(self, index: int | slice) -> "Study | StudySet":
        if isinstance(index, slice):
            return StudySet(self.folder, self._positions[index])
        start = self._positions[index]
        end = self._bytes.find(b"\n", start)
        line = self._bytes[start : end if end >= 0 else len(self._bytes)]
        return _parse(line, where=f"{self.folder / STUDIES_FILE}, byte {start}")

    def __repr__(self) -> str:
        return f"StudySet({str(self.folder)!r}, {len(self)} studies)"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open file, so that worker processes can be handed a set."""
        return {
            "folder": self.folder,
            "positions": self._positions.tolist(),
            "stamp": self._stamp,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the file again and check that it is still the one that was loaded."""
        self.folder = state["folder"]
        self._positions = array("Q", state["positions"])
        self._open()
        if self._stamp != state["stamp"]:
            raise DataError(f"{self.folder / STUDIES_FILE}: was replaced; load the studies again")

    def image_path(self, image: StudyImage) -> Path:
        """Return where an image of these studies lies: its own path if absolute, else under the
        folder."""
        return self.folder / image.path

    def _open(self) -> None:
        with _open(self.folder / STUDIES_FILE) as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        status = (self.folder / STUDIES_FILE).stat()
        self._stamp = (status.st_size, status.st_mtime_ns)


def write_studies(folder: Path | str, studies: Iterable[Study]) -> int:
    """Write a folder's `studies.jsonl` in one step: whole, or not at all.

    Args:
        folder: Made if missing.
        studies: In the order in which they shall stand; they are checked as on loading.

    Returns:
        How many were written.

    Raises:
        DataError: Two studies share a study_id, a study would not load again, there is none, or the
            folder cannot be written to.
    """
    path = Path(folder) / STUDIES_FILE
    return _write(path, _checked_records(studies, path))


def write_rejected(folder: Path | str, rejections: Iterable[Rejection]) -> int:
    """Write a folder's `rejected.jsonl`, empty if nothing was left out, and return its length."""
    return _write(Path(folder) / REJECTED_FILE, (asdict(rejection) for rejection in rejections))


def _checked_records(studies: Iterable[Study], path: Path) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for study in studies:
        if study.study_id in seen:
            raise DataError(f"{path}: study_id {study.study_id!r} would stand in it twice")
        seen.add(study.study_id)
        record = study_to_record(study)
        study_from_record(record, where=f"{path}, study {study.study_id!r}")
        yield record
    if not seen:
        raise DataError(f"{path}: there is no study to write")


def _write(path: Path, records: Iterable[dict[str, Any]]) -> int:
    try:
        return write_jsonl(path, records)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); choose another folder"
        ) from error


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); give a folder written by "
            "`editgrpo prepare`"
        ) from error


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield line number from 1, byte offset and content of every line that is not blank."""
    position = 0
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, position, line
            position += len(line)


def _parse(line: bytes, *, where: str) -> Study:
    return study_from_record(parse_json_object(line, where), where=where)
