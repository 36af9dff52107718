"""Writing the images of a prepared set, shard by shard.

A shard has its final name only when it is whole, and its bytes follow from its images alone. So a
preparation that was killed continues behind the last whole shard, and ends with the same files as
one that was not.
"""

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from editgrpo.data.prepared.arrow_files import read_arrow, write_arrow
from editgrpo.data.prepared.image_store import (
    BLANK_KEY,
    IMAGES_FOLDER,
    INDEX_FILE,
    INDEX_SCHEMA,
    shard_name,
)
from editgrpo.errors import DataError
from editgrpo.foreign import STORAGE_REMEDIES, reading

SHARD_IMAGES = 256
"""Some 50 MB at the paper's size: half a minute's work of one process is lost to a kill."""
RESUME = "run the same command with --resume"
"""How a preparation that found no room goes on."""
# Images of a batch, which can hold 2 GiB: also eight of the largest that are decoded.
_BATCH = 8
_TYPICAL_BYTES = 200_000  # of a radiograph at the paper's size
_PROBLEMS = b"editgrpo.problems"

Notes = TypeVar("Notes", dict[str, str], list[str])

_FEATURES = {
    "image_id": {"dtype": "string", "_type": "Value"},
    "height": {"dtype": "int32", "_type": "Value"},
    "width": {"dtype": "int32", "_type": "Value"},
    "image": {"_type": "Image"},
}
_SHARD_FIELDS = [
    pa.field("image_id", pa.string()),
    pa.field("height", pa.int32()),
    pa.field("width", pa.int32()),
    pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImage:
    """An image as it is stored.

    Attributes:
        image_id: Its key.
        png: Its bytes; empty if it cannot be used.
        height: In pixels.
        width: In pixels.
        problem: Why it cannot be used, in a phrase; empty if it can.
        is_blank: Whether all its pixels have one value.
    """

    image_id: str
    png: bytes = b""
    height: int = 0
    width: int = 0
    problem: str = ""
    is_blank: bool = False


class ImageStoreWriter:
    """Writes the images of a set, in order, shard by shard."""

    def __init__(
        self, folder: Path | str, image_ids: Sequence[str], *, remedy: str = RESUME
    ) -> None:
        """Continue after the whole shards that are there.

        Args:
            folder: Of the set; made if missing.
            image_ids: All images of the set, each once, in the order in which they will be added.
            remedy: What to do once there is room again, for the message about a full disk.
        """
        self.remedy = remedy
        self.folder = Path(folder) / IMAGES_FOLDER
        self._image_ids = image_ids
        self.total = len(image_ids)
        self._shards = -(-self.total // SHARD_IMAGES)
        self._part: list[StoredImage] = []
        whole = 0
        while whole < self._shards and self._is_whole(whole):
            whole += 1
        self.done = min(whole * SHARD_IMAGES, self.total)
        """How many images are safe; the next one to add is `image_ids[done]`."""

    def add(self, image: StoredImage) -> None:
        """Add the next image.

        Args:
            image: The one that stands next in the order.

        Raises:
            DataError: The folder cannot be written to, or the disk is full.
        """
        self._part.append(image)
        position = self.done + len(self._part)
        if len(self._part) == SHARD_IMAGES or position == self.total:
            path = self.folder / shard_name(self.done // SHARD_IMAGES)
            with _saying_what_is_full(self):
                _write_shard(path, self._part)
            self.done = position
            self._part = []

    def finish(self) -> dict[str, str]:
        """Write the index.

        Returns:
            The problem of each image that cannot be used, by its id.

        Raises:
            DataError: The folder cannot be written to, or the disk is full.
        """
        problems: dict[str, str] = {}
        blank: list[str] = []
        parts: list[pa.Table] = []
        for number in range(self._shards):
            shard = read_arrow(self.folder / shard_name(number))
            parts.append(_index_of_shard(self.folder, number, shard))
            problems.update(_noted(shard, _PROBLEMS, {}))
            blank += _noted(shard, BLANK_KEY, [])
        if parts:
            index = pa.concat_tables(parts).combine_chunks()
            if blank:
                index = index.replace_schema_metadata({BLANK_KEY: json.dumps(blank)})
            with _saying_what_is_full(self):
                write_arrow(self.folder / INDEX_FILE, index)
        return problems

    def bytes_missing(self) -> int:
        """Estimate how many bytes are still to be written, from those that were."""
        sizes = [path.stat().st_size for path in self.folder.glob("shard-*.arrow")]
        size = sum(sizes) / self.done if sizes and self.done else _TYPICAL_BYTES
        return int(size * (self.total - self.done))

    def _is_whole(self, number: int) -> bool:
        first = number * SHARD_IMAGES
        wanted = list(self._image_ids[first : first + SHARD_IMAGES])
        path = self.folder / shard_name(number)
        try:
            with reading(path, "prepare the set again"):
                shard = read_arrow(path)
                held = set(shard["image_id"].to_pylist()) | set(_noted(shard, _PROBLEMS, {}))
        except DataError:
            return False
        return held == set(wanted)


@contextmanager
def _saying_what_is_full(writer: ImageStoreWriter) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            remedy = "choose another folder"
            if error.errno == errno.EFBIG:  # a limit of this process, in every folder
                remedy = f"{STORAGE_REMEDIES[errno.EFBIG]} and {writer.remedy}"
            raise DataError(
                f"{writer.folder}: cannot be written ({error.strerror}); {remedy}"
            ) from error
        needed = max(0.1, writer.bytes_missing() / 2**30)  # never "0.0 GiB"
        raise DataError(
            f"{writer.folder}: the disk is full after {writer.done:,} of {writer.total:,} images; "
            f"free about {needed:.1f} GiB and {writer.remedy}"
        ) from error


def _write_shard(path: Path, images: Sequence[StoredImage]) -> None:
    usable = [image for image in images if not image.problem]
    problems = {image.image_id: image.problem for image in images if image.problem}
    metadata = {
        b"huggingface": json.dumps({"info": {"features": _FEATURES}}).encode(),
        _PROBLEMS: json.dumps(problems).encode(),
    }
    # Named where there are any, so that equal images have equal bytes in every version.
    if blank := [image.image_id for image in usable if image.is_blank]:
        metadata[BLANK_KEY] = json.dumps(blank).encode()
    schema = pa.schema(_SHARD_FIELDS, metadata=metadata)
    batches = [
        pa.RecordBatch.from_pylist([_row(image) for image in part], schema)
        for part in (usable[first : first + _BATCH] for first in range(0, len(usable), _BATCH))
    ]
    write_arrow(path, pa.Table.from_batches(batches, schema))


def _row(image: StoredImage) -> dict[str, Any]:
    return {
        "image_id": image.image_id,
        "height": image.height,
        "width": image.width,
        "image": {"bytes": image.png, "path": None},
    }


def _noted(shard: pa.Table, name: bytes, default: Notes) -> Notes:
    """Return what a shard says of its images under a name."""
    notes: Notes = json.loads((shard.schema.metadata or {}).get(name, "null")) or default
    return notes


def _index_of_shard(folder: Path, number: int, shard: pa.Table) -> pa.Table:
    """Return the part of the index that a shard fills."""
    path = folder / shard_name(number)
    offsets: list[NDArray[np.int64]] = []
    lengths: list[NDArray[np.int64]] = []
    with pa.memory_map(str(path)) as source:
        start_of_file = source.read_buffer(source.size()).address
        source.seek(0)
        for batch in pa.ipc.open_stream(source):
            content = batch.column("image").field("bytes")
            _, bounds, values = content.buffers()
            ends = np.frombuffer(bounds, np.int32, len(content) + 1, 4 * content.offset)
            ends = ends.astype(np.int64)
            offsets.append(values.address - start_of_file + ends[:-1])
            lengths.append(np.diff(ends))
    columns = [
        shard["image_id"],
        np.full(shard.num_rows, number, np.int32),
        np.concatenate(offsets or [np.zeros(0, np.int64)]),
        np.concatenate(lengths or [np.zeros(0, np.int64)]),
        shard["height"],
        shard["width"],
    ]
    return pa.table(columns, schema=INDEX_SCHEMA)
