"""The images of a prepared set: lossless PNG at the model's size, in shards.

A shard is an Arrow stream of at most `SHARD_IMAGES` images with the Image type of `datasets`;
`index.arrow` says in which shard, and where in its file, each image lies. Reading takes bytes from
the file at that place: nothing is mapped, so memory does not grow with the images that were seen.

A shard has its final name only when it is whole, and its bytes follow from its images alone. So a
preparation that was killed continues behind the last whole shard, and ends with the same files as
one that was not.
"""

import errno
import io
import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from editgrpo.data.arrow_files import (
    FileStamp,
    check_stamp,
    file_stamp,
    read_arrow,
    write_arrow,
)
from editgrpo.errors import DataError

IMAGES_FOLDER = "images"
INDEX_FILE = "index.arrow"
SHARD_IMAGES = 256
"""Some 50 MB at the paper's size: half a minute's work of one process is lost to a kill."""
_TYPICAL_BYTES = 200_000  # of a radiograph at the paper's size

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
_INDEX_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
    ]
)
_NUMBERS = ("shard", "offset", "length", "height", "width")
_PROBLEMS = b"editgrpo.problems"


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:05d}.arrow"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImage:
    """An image as it is stored.

    Attributes:
        image_id: Its key.
        png: Its bytes; empty if it cannot be used.
        height: In pixels.
        width: In pixels.
        problem: Why it cannot be used, in a phrase; empty if it can.
    """

    image_id: str
    png: bytes = b""
    height: int = 0
    width: int = 0
    problem: str = ""


class ImageStore:
    """The images of a prepared set, by id."""

    def __init__(
        self, folder: Path, index: pa.Table, *, memory_bytes: int = 0, stamp: FileStamp = None
    ) -> None:
        """Use `open` instead.

        Args:
            folder: Of the shards.
            index: The content of `index.arrow`.
            memory_bytes: So much of the pixels used last stays in memory.
            stamp: Of `index.arrow`.
        """
        self.folder = folder
        self._stamp = stamp
        self.index = index
        self._row_of_id = {name: row for row, name in enumerate(index["image_id"].to_pylist())}
        self._columns = {name: index[name].to_numpy() for name in _NUMBERS}
        self._memory_bytes = memory_bytes
        self._memory: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()
        self._held_bytes = 0

    @classmethod
    def open(cls, folder: Path | str, *, memory_bytes: int = 0) -> "ImageStore":
        """Open the images of a prepared set.

        Args:
            folder: Of the set; a set without images has an empty store.
            memory_bytes: So much of the pixels used last stays in memory.

        Returns:
            The store.

        Raises:
            DataError: The index is damaged.
        """
        shards = Path(folder) / IMAGES_FOLDER
        path = shards / INDEX_FILE
        stamp = file_stamp(path)
        # Without an index there may be no images, but not shards.
        is_empty = stamp is None and not (shards / shard_name(0)).exists()
        index = _INDEX_SCHEMA.empty_table() if is_empty else read_arrow(path)
        if not index.schema.equals(_INDEX_SCHEMA):
            raise DataError(f"{path}: is not the index of an image store; prepare the set again")
        return cls(shards, index, memory_bytes=memory_bytes, stamp=stamp)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place alone: the process that gets the store opens it itself."""
        return _open_again, (self.folder, self._memory_bytes, self._stamp)

    def __len__(self) -> int:
        return len(self._row_of_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._row_of_id)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._row_of_id

    def size(self, image_id: str) -> tuple[int, int]:
        """Return (height, width) of an image, in pixels."""
        row = self._row(image_id)
        return int(self._columns["height"][row]), int(self._columns["width"][row])

    def png(self, image_id: str) -> bytes:
        """Return the bytes of an image.

        Args:
            image_id: One of the store's.

        Returns:
            A PNG file.

        Raises:
            DataError: There is no such image, or its shard is missing or cut short.
        """
        row = self._row(image_id)
        shard = self.folder / shard_name(int(self._columns["shard"][row]))
        offset, length = (int(self._columns[name][row]) for name in ("offset", "length"))
        try:
            with shard.open("rb", buffering=0) as file:
                # A damaged index may ask for more than there is memory.
                is_inside = 0 <= offset <= offset + length <= os.fstat(file.fileno()).st_size
                content = os.pread(file.fileno(), length, offset) if is_inside else b""
        except OSError as error:
            raise DataError(
                f"{shard}: cannot be read ({error.strerror}); restore it or prepare the set again"
            ) from error
        if not is_inside or len(content) < length:
            raise DataError(f"{shard}: is cut short; restore it or prepare the set again")
        return content

    def load(self, image_id: str) -> Image.Image:
        """Return an image at the model's size, mode "L" or "RGB".

        Args:
            image_id: One of the store's.

        Returns:
            The image.

        Raises:
            DataError: There is no such image, or its bytes are damaged.
        """
        content = self.png(image_id)
        try:
            image = Image.open(io.BytesIO(content), formats=("PNG",))
            image.load()
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
            shard = self.folder / shard_name(int(self._columns["shard"][self._row(image_id)]))
            raise DataError(
                f"{shard}: image {image_id!r} is damaged; restore the file or prepare the set again"
            ) from error
        return image

    def pixels(self, image_id: str) -> NDArray[np.uint8]:
        """Return the pixels of an image.

        Args:
            image_id: One of the store's.

        Returns:
            (H, W, 3) uint8, read-only; a grey image has three equal channels.

        Raises:
            DataError: There is no such image, or its bytes are damaged.
        """
        pixels = self._memory.pop(image_id, None)
        if pixels is None:
            pixels = np.array(self.load(image_id).convert("RGB"))
            pixels.flags.writeable = False
            self._held_bytes += pixels.nbytes if self._memory_bytes else 0
        if self._memory_bytes:
            self._memory[image_id] = pixels
            while self._held_bytes > self._memory_bytes:
                self._held_bytes -= self._memory.popitem(last=False)[1].nbytes
        return pixels

    def _row(self, image_id: str) -> int:
        row = self._row_of_id.get(image_id)
        if row is None:
            raise DataError(
                f"{self.folder}: holds no image {image_id!r}; run `editgrpo data check` on the set"
            )
        return row


def _open_again(folder: Path, memory_bytes: int, stamp: FileStamp) -> ImageStore:
    check_stamp(folder / INDEX_FILE, stamp)
    return ImageStore.open(folder.parent, memory_bytes=memory_bytes)


class ImageStoreWriter:
    """Writes the images of a set, in order, shard by shard."""

    def __init__(self, folder: Path | str, image_ids: Sequence[str]) -> None:
        """Continue behind the whole shards that are there.

        Args:
            folder: Of the set; made if missing.
            image_ids: All images of the set, each once, in the order in which they will be added.
        """
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
        parts: list[pa.Table] = []
        for number in range(self._shards):
            part, problems_of_shard = _index_of_shard(self.folder, number)
            parts.append(part)
            problems.update(problems_of_shard)
        if parts:
            index = pa.concat_tables(parts).combine_chunks()
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
        try:
            shard = read_arrow(self.folder / shard_name(number))
        except DataError:
            return False
        problems = _problems(shard)
        held = set(shard["image_id"].to_pylist()) | set(problems)
        return held == set(wanted)


@contextmanager
def _saying_what_is_full(writer: ImageStoreWriter) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"{writer.folder}: cannot be written ({error.strerror}); choose another folder"
            ) from error
        needed = writer.bytes_missing() / 2**30
        raise DataError(
            f"{writer.folder}: the disk is full after {writer.done:,} of {writer.total:,} images; "
            f"free about {needed:.1f} GiB and run the same command with --resume"
        ) from error


def _write_shard(path: Path, images: Sequence[StoredImage]) -> None:
    usable = [image for image in images if not image.problem]
    problems = {image.image_id: image.problem for image in images if image.problem}
    metadata = {
        b"huggingface": json.dumps({"info": {"features": _FEATURES}}).encode(),
        _PROBLEMS: json.dumps(problems).encode(),
    }
    columns: list[Any] = [
        [image.image_id for image in usable],
        [image.height for image in usable],
        [image.width for image in usable],
        [{"bytes": image.png, "path": None} for image in usable],
    ]
    schema = pa.schema(_SHARD_FIELDS, metadata=metadata)
    write_arrow(path, pa.table(columns, schema=schema))


def _problems(shard: pa.Table) -> dict[str, str]:
    problems: dict[str, str] = json.loads((shard.schema.metadata or {}).get(_PROBLEMS, b"{}"))
    return problems


def _index_of_shard(folder: Path, number: int) -> tuple[pa.Table, dict[str, str]]:
    """Return the part of the index that a shard fills, and the problems that it lists."""
    path = folder / shard_name(number)
    shard = read_arrow(path)
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
    return pa.table(columns, schema=_INDEX_SCHEMA), _problems(shard)
