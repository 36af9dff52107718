"""Whether the image store of a prepared set holds what its index says, shard by shard.

Every image is found in two ways, by its row in the shard and by its place in the index; both must
give the same bytes, and these must be a whole PNG of the model's size.
"""

import hashlib
import io
import os
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from editgrpo.data.pixels.resize import PixelBudget, is_blank
from editgrpo.data.prepared.arrow_files import read_arrow
from editgrpo.data.prepared.image_store import IMAGES_FOLDER, INDEX_FILE, ImageStore, shard_name
from editgrpo.data.prepared.workers import Progress, ordered_map
from editgrpo.data.verify.problems import PREPARE, RESTORE, Problem, ProblemKind, Report, of_file
from editgrpo.errors import DataError
from editgrpo.foreign import reading

_MODES = ("L", "RGB")
_DIGEST_BYTES = 16


class _Entry(NamedTuple):
    """A row of the index."""

    image_id: str
    shard: int
    offset: int
    length: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class _Shard:
    """A shard, with what the index says of it."""

    path: Path
    entries: tuple[_Entry, ...]

    @property
    def file(self) -> str:
        return f"{IMAGES_FOLDER}/{self.path.name}"


@dataclass(slots=True)
class _Findings:
    """What was found in a shard: problems, and a digest of the bytes of each image that shows
    something."""

    problems: list[Problem] = field(default_factory=list)
    digests: dict[str, bytes] = field(default_factory=dict)


def verify_images(
    store: ImageStore,
    budget: PixelBudget,
    report: Report,
    *,
    passed_over: Container[str] = (),
    workers: int,
    progress: Progress | None = None,
) -> dict[str, bytes]:
    """Decode every image of a set.

    Args:
        store: The images.
        budget: The size that the images shall have.
        report: Takes what is wrong.
        passed_over: Shards of which is known that they are missing or not of the set.
        workers: Processes.
        progress: Called after each shard with the images done.

    Returns:
        A digest of each image that can be read and is not blank, equal for equal bytes.
    """
    _report_repeated_ids(store, report)
    shards = _shards(store, passed_over, report)
    total, done = sum(len(shard.entries) for shard in shards), 0
    digests: dict[str, bytes] = {}
    check = partial(_check_shard, budget=budget)
    results = ordered_map(check, shards, workers=max(1, min(workers, len(shards))))
    for shard, findings in zip(shards, results, strict=True):
        for problem in findings.problems:
            report(problem)
        digests.update(findings.digests)
        done += len(shard.entries)
        if progress is not None:
            progress("Decoding images", done, total)
    return digests


def _report_repeated_ids(store: ImageStore, report: Report) -> None:
    if len(store) == store.index.num_rows:
        return
    seen: set[str] = set()
    for image_id in store.index["image_id"].to_pylist():
        if image_id in seen:
            report(_index_problem(f"image {image_id!r} stands in it twice"))
        seen.add(image_id)


def _shards(store: ImageStore, passed_over: Container[str], report: Report) -> list[_Shard]:
    """Group the index by shard; a shard that it does not name must be empty."""
    indexed: dict[int, list[_Entry]] = {}
    columns = [store.index[name].to_pylist() for name in store.index.schema.names]
    for entry in map(_Entry._make, zip(*columns, strict=True)):
        indexed.setdefault(entry.shard, []).append(entry)
    entries = {shard_name(number): tuple(part) for number, part in indexed.items()}
    present = {path.name for path in store.folder.glob("shard-*.arrow")}
    shards = [
        _Shard(store.folder / name, entries.get(name, ()))
        for name in sorted(present | entries.keys())
        if f"{IMAGES_FOLDER}/{name}" not in passed_over
    ]
    for shard in shards:
        if shard.path.name not in present:
            report(_index_problem(f"names {shard.file}, which is not there"))
    return [shard for shard in shards if shard.path.name in present]


def _check_shard(shard: _Shard, *, budget: PixelBudget) -> _Findings:
    """Check all images of a shard; it runs in a process of its own."""
    findings = _Findings()
    try:
        rows = _rows(shard.path)
    except DataError:
        what = f"none of its {len(shard.entries)} images can be read"
        findings.problems.append(of_file(ProblemKind.IMAGE_DAMAGED, shard.file, what))
        return findings
    _compare_ids(shard, rows, findings)
    with shard.path.open("rb", buffering=0) as file:
        for entry in shard.entries:
            row = rows.get(entry.image_id)
            if row is None:
                continue
            if not _lies_at_its_place(entry, row, file.fileno()):
                problem: Problem | None = _index_problem(
                    f"does not say where image {entry.image_id!r} of {shard.file} lies"
                )
            else:
                problem = _problem_of_image(entry, row, budget, shard)
            if problem is not None:
                findings.problems.append(problem)
                if problem.kind is ProblemKind.IMAGE_BLANK:
                    continue  # equal to every other blank one, and no copy of it
            findings.digests[entry.image_id] = hashlib.blake2b(
                row, digest_size=_DIGEST_BYTES
            ).digest()
    return findings


def _rows(path: Path) -> Mapping[str, bytes]:
    """Return the bytes of each image of a shard by its id."""
    table = read_arrow(path)
    with reading(path, RESTORE, fault="is no shard of images"):
        names = table["image_id"].to_pylist()
        contents = [
            png for part in table["image"].chunks for png in part.field("bytes").to_pylist()
        ]
    if None in names or None in contents:
        raise DataError(f"{path}: a value is missing; {RESTORE}")
    return dict(zip(names, contents, strict=True))


def _compare_ids(shard: _Shard, rows: Iterable[str], findings: _Findings) -> None:
    indexed, held = {entry.image_id for entry in shard.entries}, set(rows)
    for image_id in sorted(indexed - held):
        findings.problems.append(_index_problem(f"image {image_id!r} is not in {shard.file}"))
    for image_id in sorted(held - indexed):
        findings.problems.append(_index_problem(f"image {image_id!r} of {shard.file} is not in it"))


def _lies_at_its_place(entry: _Entry, content: bytes, file: int) -> bool:
    if entry.length != len(content) or entry.offset < 0:
        return False
    return os.pread(file, entry.length, entry.offset) == content


def _problem_of_image(
    entry: _Entry, content: bytes, budget: PixelBudget, shard: _Shard
) -> Problem | None:
    name = f"image {entry.image_id!r}"
    try:
        # `verify` compares the checksums of the file, `load` decodes it; one image cannot do both.
        with reading(shard.file, RESTORE):
            Image.open(io.BytesIO(content), formats=("PNG",)).verify()
            image = Image.open(io.BytesIO(content), formats=("PNG",))
            image.load()
    except DataError:
        return of_file(ProblemKind.IMAGE_DAMAGED, shard.file, f"{name} cannot be decoded")
    size = f"{image.width} x {image.height}"
    if (image.height, image.width) != (entry.height, entry.width):
        return _index_problem(f"{name} has {size} pixels, not {entry.width} x {entry.height}")
    if image.mode not in _MODES or not _is_of_budget(image.height, image.width, budget):
        what = f"{name} has {size} pixels, mode {image.mode}, which no image of this pixel budget"
        return of_file(ProblemKind.IMAGE_SIZE, shard.file, f"{what} has", PREPARE)
    if is_blank(image):
        remedy = "look at its original, and leave it out if that shows nothing either"
        what = f"{name} has one value everywhere"
        return of_file(ProblemKind.IMAGE_BLANK, shard.file, what, remedy)
    return None


def _is_of_budget(height: int, width: int, budget: PixelBudget) -> bool:
    """Return whether an original may have become an image of this size, see `PixelBudget.size`.

    Rounding to multiples may leave the range: an image that was reduced is below it if one more
    step would exceed it, one that was enlarged is above it if one step less would fall below.
    """
    step = budget.multiple_of
    if height % step or width % step:
        return False
    if height * width > budget.max_pixels:
        return (height - step) * (width - step) < budget.min_pixels
    if height * width < budget.min_pixels:
        return (height + step) * (width + step) > budget.max_pixels
    return True


def _index_problem(what: str) -> Problem:
    return of_file(ProblemKind.INDEX, f"{IMAGES_FOLDER}/{INDEX_FILE}", what, PREPARE)
