"""The images of a prepared set, by id: lossless PNG at the model's size, in shards.

A shard is an Arrow stream with the Image type of `datasets`; `index.arrow` says in which shard, and
where in its file, each image lies. Reading takes bytes from the file at that place: nothing is
mapped, so memory does not grow with the images that were seen. `image_writer.py` writes them.
"""

import io
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from editgrpo.data.prepared.arrow_files import (
    FileStamp,
    check_stamp,
    file_stamp,
    read_arrow,
)
from editgrpo.errors import DataError
from editgrpo.foreign import reading

IMAGES_FOLDER = "images"
INDEX_FILE = "index.arrow"

BLANK_KEY = b"editgrpo.blank"
"""Under it the metadata of index and shards list the images of one value, if there are any."""

INDEX_SCHEMA = pa.schema(
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


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:05d}.arrow"


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
        self._lock = threading.Lock()

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
        index = INDEX_SCHEMA.empty_table() if is_empty else read_arrow(path)
        has_gaps = any(column.null_count for column in index.columns)
        if has_gaps or not index.schema.equals(INDEX_SCHEMA):
            raise DataError(f"{path}: is not the index of an image store; prepare the set again")
        return cls(shards, index, memory_bytes=memory_bytes, stamp=stamp)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place alone: the process that gets the store opens it itself."""
        return _open_again, (self.folder, self._memory_bytes, self._stamp)

    @property
    def blank(self) -> frozenset[str]:
        """The images whose pixels all have one value; a DataError if the index is damaged."""
        with reading(self.folder / INDEX_FILE, "prepare the set again"):
            names = json.loads((self.index.schema.metadata or {}).get(BLANK_KEY, "[]"))
            return frozenset(names)

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
        remedy = "restore it or prepare the set again"
        with reading(shard, remedy), shard.open("rb", buffering=0) as file:
            # A damaged index may ask for more than there is memory.
            is_inside = 0 <= offset <= offset + length <= os.fstat(file.fileno()).st_size
            content = os.pread(file.fileno(), length, offset) if is_inside else b""
        if not is_inside or len(content) < length:
            raise DataError(f"{shard}: is cut short; {remedy}")
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
        shard = self.folder / shard_name(int(self._columns["shard"][self._row(image_id)]))
        remedy = "restore the file or prepare the set again"
        with reading(shard, remedy, fault=f"image {image_id!r} is damaged"):
            image = Image.open(io.BytesIO(content), formats=("PNG",))
            image.load()
        return image

    def pixels(self, image_id: str) -> NDArray[np.uint8]:
        """Return the pixels of an image; threads may ask at once.

        Args:
            image_id: One of the store's.

        Returns:
            (H, W, 3) uint8, read-only; a grey image has three equal channels.

        Raises:
            DataError: There is no such image, or its bytes are damaged.
        """
        if not self._memory_bytes:
            return self._decode(image_id)
        with self._lock:
            pixels = self._memory.get(image_id)
            if pixels is not None:
                self._memory.move_to_end(image_id)
                return pixels
        pixels = self._decode(image_id)  # outside the lock: threads decode side by side
        with self._lock:
            if image_id not in self._memory:
                self._memory[image_id] = pixels
                self._held_bytes += pixels.nbytes
            while self._held_bytes > self._memory_bytes:
                self._held_bytes -= self._memory.popitem(last=False)[1].nbytes
        return pixels

    def _decode(self, image_id: str) -> NDArray[np.uint8]:
        pixels = np.array(self.load(image_id).convert("RGB"))
        pixels.flags.writeable = False
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
