"""Whether a prepared set is still what its preparation wrote, and keeps the rules of one.

Compared are the hashes of all files, the tables of studies (`studies.py`), and every image
(`images.py`). Nothing is repaired.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.boxes import BOXES_FILE, read_boxes
from editgrpo.data.prepared.folder_state import TRUTH_FILE, hash_files
from editgrpo.data.prepared.image_store import IMAGES_FOLDER, INDEX_FILE, ImageStore
from editgrpo.data.prepared.store import (
    ANNOTATIONS_FOLDER,
    PREPARED_FILE,
    STUDIES_FOLDER,
    StudySet,
    read_prepared,
    table_path,
)
from editgrpo.data.prepared.workers import Progress, default_workers
from editgrpo.data.study import Split
from editgrpo.data.verify.images import verify_images
from editgrpo.data.verify.problems import (
    PREPARE,
    RESTORE,
    Problem,
    ProblemKind,
    Report,
    of_file,
    of_study,
)
from editgrpo.data.verify.studies import Columns, read_columns, verify_studies
from editgrpo.errors import ConfigError, DataError
from editgrpo.ownership import is_lock

# What is of a set, and has no hash in it: its account, and the truth behind a phantom set.
_UNSEALED = frozenset({PREPARED_FILE, TRUTH_FILE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What was looked at, and what is wrong.

    Attributes:
        folder: The prepared set.
        files: How many files it should have.
        studies: How many studies could be read.
        images: How many images its index names.
        problems: What is wrong: files, then studies, then images.
    """

    folder: Path
    files: int
    studies: int
    images: int
    problems: tuple[Problem, ...]

    @property
    def failures(self) -> tuple[Problem, ...]:
        """Problems for which the set must not be used."""
        return tuple(problem for problem in self.problems if not problem.is_warning)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems with which the set may be used."""
        return tuple(problem for problem in self.problems if problem.is_warning)

    @property
    def ok(self) -> bool:
        """Whether there is no failure."""
        return not self.failures

    def counts(self) -> dict[ProblemKind, int]:
        """Return how many problems there are of each kind that occurs."""
        return dict(Counter(problem.kind for problem in self.problems))


def verify(
    folder: Path | str, *, workers: int | None = None, progress: Progress | None = None
) -> Verification:
    """Check a prepared set.

    Args:
        folder: A folder written by `editgrpo prepare`.
        workers: Processes that decode images; None takes one a core.
        progress: Called as files are hashed and images decoded.

    Returns:
        Everything that was found; the same for the same folder.

    Raises:
        DataError: The folder is no finished preparation, or a file may not be read.
        ConfigError: `workers` is below 1.
    """
    folder = Path(folder)
    workers = default_workers() if workers is None else workers
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1")
    prepared = read_prepared(folder)
    hashes, budget = _promised(folder, prepared)
    problems: list[Problem] = []
    amiss = _verify_files(folder, hashes, problems.append, progress)
    tables = _readable_tables(folder, problems.append)
    columns = read_columns(tables, problems.append) if tables else None
    if columns is not None:
        verify_studies(columns, problems.append)
    store = _open_store(folder, amiss, problems.append)
    if store is not None:
        if columns is not None:
            _verify_references(columns, store, problems.append)
        _verify_boxes(folder, store, problems.append)
        digests = verify_images(
            store, budget, problems.append, passed_over=amiss, workers=workers, progress=progress
        )
        if columns is not None:
            _verify_copies(columns, digests, problems.append)
    return Verification(
        folder=folder,
        files=len(hashes),
        studies=len(columns.study_ids) if columns is not None else 0,
        images=len(store) if store is not None else 0,
        problems=tuple(problems),
    )


def _promised(folder: Path, prepared: Mapping[str, Any]) -> tuple[dict[str, str], PixelBudget]:
    """Return the hash of each file and the pixel budget that the set says it has."""
    try:
        files = {str(name): str(value) for name, value in prepared["files"].items()}
        return files, PixelBudget(**prepared["budget"])
    except (AttributeError, KeyError, TypeError, ConfigError) as error:
        raise DataError(
            f"{folder / PREPARED_FILE}: does not say what the set should hold; {RESTORE}"
        ) from error


def _verify_files(
    folder: Path, hashes: Mapping[str, str], report: Report, progress: Progress | None
) -> set[str]:
    """Return the files that are missing or not of the set."""
    present = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not (path.is_dir() or is_lock(path))
        and ANNOTATIONS_FOLDER not in path.relative_to(folder).parts[:1]
    }
    missing = sorted(hashes.keys() - present)
    extra = sorted(present - hashes.keys() - _UNSEALED)
    for name in missing:
        report(of_file(ProblemKind.FILE_MISSING, name, "is missing"))
    for name in extra:
        what = "is not a file of the set"
        problem = of_file(ProblemKind.FILE_EXTRA, name, what, "move it elsewhere")
        # What lies elsewhere is read by nobody, but would travel with the set, a key for instance.
        is_read = name.startswith((f"{STUDIES_FOLDER}/", f"{IMAGES_FOLDER}/"))
        report(replace(problem, harmless=not is_read))
    kept = sorted(hashes.keys() & present)
    try:
        now = hash_files(folder, kept, progress=progress)
    except OSError as error:
        raise DataError(
            f"{error.filename or folder}: {error.strerror or error}; make it readable"
        ) from error
    for name in kept:
        if now[name] != hashes[name]:
            what = "is not what the preparation wrote"
            report(of_file(ProblemKind.FILE_CHANGED, name, what))
    return {*missing, *extra}


def _readable_tables(folder: Path, report: Report) -> dict[Split, pa.Table]:
    tables: dict[Split, pa.Table] = {}
    for split in Split:
        path = table_path(folder, split)
        if not path.exists():
            continue
        try:
            tables[split] = StudySet.load(folder, split=split).table
        except DataError:
            name = path.relative_to(folder).as_posix()
            report(of_file(ProblemKind.TABLE_DAMAGED, name, "is no whole table of studies"))
    return tables


def _open_store(folder: Path, amiss: set[str], report: Report) -> ImageStore | None:
    """Return the images; None if their index cannot be read, which is reported."""
    name = f"{IMAGES_FOLDER}/{INDEX_FILE}"
    if name in amiss:
        return None
    try:
        return ImageStore.open(folder)
    except DataError:
        report(of_file(ProblemKind.INDEX, name, "cannot be read"))
        return None


def _verify_references(columns: Columns, store: ImageStore, report: Report) -> None:
    """Report images that a study shows and the store has not.

    The other way round it is in order: the store keeps the prior images of a study that was left
    out when its own images could not be read.
    """
    for row, image_id, _ in columns.images():
        if image_id not in store:
            what = f"image {image_id!r} is not in the store"
            report(of_study(ProblemKind.IMAGE_ABSENT, columns.study_ids[row], what, PREPARE))


def _verify_boxes(folder: Path, store: ImageStore, report: Report) -> None:
    """Report boxes that cannot be drawn, once a study."""
    try:
        boxes_of_study = read_boxes(folder)
    except DataError:
        report(of_file(ProblemKind.TABLE_DAMAGED, BOXES_FILE, "is no whole table of boxes"))
        return
    for study_id, boxes in boxes_of_study.items():
        if not all(box.image_id in store and box.is_in_image for box in boxes):
            what = "a box lies in no image of the store"
            report(of_study(ProblemKind.BOX, study_id, what, PREPARE))


def _verify_copies(columns: Columns, digests: Mapping[str, bytes], report: Report) -> None:
    """Report pictures that two splits show, under whatever id, once each."""
    first: dict[bytes, int] = {}
    reported: set[bytes] = set()
    for row, image_id, _ in columns.images():
        digest = digests.get(image_id)
        if digest is None or digest in reported:
            continue
        earlier = first.setdefault(digest, row)
        if columns.splits[earlier] is not columns.splits[row]:
            reported.add(digest)
            what = (
                f"image {image_id!r} ({columns.splits[row]}) has the bytes of one of study "
                f"{columns.study_ids[earlier]!r} ({columns.splits[earlier]})"
            )
            remedy = "look whether both are of one patient"
            kind, study_id = ProblemKind.SAME_IMAGE_IN_TWO_SPLITS, columns.study_ids[row]
            report(of_study(kind, study_id, what, remedy))
