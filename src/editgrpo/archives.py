"""Compressed files and archives of other people: read in one pass, within bounds, never unpacked.

Compression is measured by what comes out: a file of a megabyte may hold gigabytes of zeros. Every
reader here stops at a number of bytes that its caller gives, with a reason for it.
"""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from editgrpo.errors import DataError, EditGRPOError
from editgrpo.foreign import CANNOT_BE_READ, reading

GZIP = b"\x1f\x8b"
"""First bytes of a gzip file."""

ZIP = b"PK\x03\x04"
"""First bytes of a zip archive."""

MOST_TABLE_BYTES = 1 << 29
"""Of an unpacked table: some five times the largest published one (PadChest's and MIMIC-CXR's have
about a hundred million)."""

_PIECE = 1 << 20  # bytes unpacked at once
_Guard = Callable[[], AbstractContextManager[None]]

_OPENERS: dict[bytes, Callable[..., Any]] = {
    GZIP: gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


class _Bounded(io.RawIOBase):
    def __init__(
        self,
        source: IO[bytes] | gzip.GzipFile,
        most_bytes: int,
        refusal: EditGRPOError,
        guard: _Guard,
    ) -> None:
        super().__init__()
        self._source = source
        self._left = most_bytes
        self._refusal = refusal
        self._guard = guard

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._guard():
            content = self._source.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise self._refusal
        buffer[: len(content)] = content
        return len(content)


def bounded(
    source: IO[bytes] | gzip.GzipFile,
    most_bytes: int,
    place: str | Path,
    remedy: str,
    *,
    fault: str = CANNOT_BE_READ,
) -> io.BufferedReader:
    """Return a stream that gives no more than some bytes of another.

    Args:
        source: An unpacking stream, of a foreign library.
        most_bytes: How much it may give.
        place: The file, for messages.
        remedy: What to do about a damaged one.
        fault: What is wrong with a damaged one, see `reading`.

    Returns:
        The stream. Closing it leaves the other open; it raises DataErrors alone.
    """
    guard = partial(reading, place, remedy, fault=fault)
    refusal = DataError(too_large(place, most_bytes))
    return io.BufferedReader(_Bounded(source, most_bytes, refusal, guard), _PIECE)


def too_large(place: str | Path, most_bytes: int) -> str:
    """Return the message about a file that unpacks to too much."""
    return f"{place}: unpacks to more than {most_bytes:,} bytes; get the original again"


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One entry of an archive, readable until the next one is asked for.

    Attributes:
        name: Its path inside the archive; it may lead anywhere.
        size: Bytes that it claims.
        is_file: Whether it is a plain file, no link and no device.
        is_folder: Whether it is a folder.
        read: Takes a number and returns so many bytes at most.
    """

    name: str
    size: int
    is_file: bool
    is_folder: bool
    read: Callable[[int], bytes]


def tar_entries(
    path: Path,
    *,
    most_bytes: int,
    remedy: str,
    error: type[EditGRPOError] = DataError,
    fault: str = CANNOT_BE_READ,
) -> Iterator[TarEntry]:
    """Yield the entries of a tar archive in one pass, compressed or not.

    Args:
        path: The archive.
        most_bytes: What all of it may unpack to.
        remedy: What to do about a damaged one.
        error: What is raised.
        fault: What is wrong with a damaged one, see `reading`.

    Yields:
        Each entry.

    Raises:
        EditGRPOError: of the kind asked for: the archive is missing, damaged or too large.
    """
    guard = partial(reading, path, remedy, error=error, fault=fault)
    entries = _entries(path, most_bytes, error(too_large(path, most_bytes)), guard)
    while True:
        with guard():
            entry = next(entries, None)
        if entry is None:
            return
        yield entry


def _entries(
    path: Path, most_bytes: int, refusal: EditGRPOError, guard: _Guard
) -> Iterator[TarEntry]:
    with path.open("rb") as file:
        start = file.peek(6)
        opener = next((open_ for magic, open_ in _OPENERS.items() if start.startswith(magic)), None)
        unpacked: IO[bytes] = file if opener is None else opener(file)
        stream = io.BufferedReader(_Bounded(unpacked, most_bytes, refusal, guard), _PIECE)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.size > most_bytes:
                    raise refusal
                read = partial(_read, archive, member, guard)
                yield TarEntry(member.name, member.size, member.isreg(), member.isdir(), read)
                archive.members = []  # type: ignore[attr-defined]  # it would keep all of them


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo, guard: _Guard, count: int) -> bytes:
    with guard():
        file = archive.extractfile(member)
        return b"" if file is None else file.read(count)
