"""Arrow streams as files: whole or absent when written, mapped into memory when read."""

import os
from pathlib import Path

import pyarrow as pa

from editgrpo.errors import DataError
from editgrpo.files import replacing
from editgrpo.foreign import reading, storing

_RESTORE = "restore it or prepare the set again"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"

FileStamp = tuple[int, int, int] | None
"""Tells a file from one that took its place; None if there is no file."""


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table as an Arrow stream, whole or not at all, one batch a chunk.

    Args:
        path: The final name.
        table: The table; its schema's metadata is kept.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        with pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
        # The name must never stand for a file whose end a power cut took.
        file.flush()
        os.fsync(file.fileno())


def write_or_remove(path: Path, table: pa.Table | None) -> None:
    """Write a table of a prepared set; where there is none, no file stays.

    Args:
        path: The final name.
        table: See `write_arrow`; None for none.

    Raises:
        DataError: The folder cannot be written to.
        StorageError: There is no room, or the disk is out of order.
    """
    try:
        with storing(path):
            if table is None:
                path.unlink(missing_ok=True)
            else:
                write_arrow(path, table)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); choose another folder"
        ) from error


def read_arrow(path: Path) -> pa.Table:
    """Map an Arrow stream into memory; only what is looked at is read.

    Args:
        path: A file that `write_arrow` wrote.

    Returns:
        The table.

    Raises:
        DataError: The file is missing, or is no whole Arrow stream.
    """
    damaged = "is damaged or cut short"
    with reading(path, _RESTORE, fault=damaged):
        try:
            table, is_whole = _read_stream(path)
        except OSError as error:
            if not error.errno:
                raise
            # Arrow's own text names the file again.
            raise DataError(f"{path}: {os.strerror(error.errno)}; {_RESTORE}") from error
        except pa.ArrowMemoryError as error:
            # Nothing of a mapped file is copied: only a damaged one asks for memory.
            raise DataError(f"{path}: {damaged}; {_RESTORE}") from error
    if not is_whole:
        raise DataError(f"{path}: {damaged}; {_RESTORE}")
    return table


def _read_stream(path: Path) -> tuple[pa.Table, bool]:
    """Return a table, and whether its stream has its end."""
    with pa.memory_map(str(path)) as source:
        # Arrow takes a stream that was cut between two batches for a shorter one.
        source.seek(max(0, source.size() - len(_END_OF_STREAM)))
        is_whole = source.read() == _END_OF_STREAM
        source.seek(0)
        with pa.ipc.open_stream(source) as stream:
            table = stream.read_all()
        # Arrow trusts what it reads: one changed bit of an offset would end the process. This
        # checks all of these and the text, 3 GB a second, but not the bytes of images.
        table.validate(full=True)
    return table, is_whole


def file_stamp(path: Path) -> FileStamp:
    """Return what another process compares before it maps the file that this one has mapped.

    Args:
        path: A file, which may be missing.

    Returns:
        Its stamp.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def check_stamp(path: Path, stamp: FileStamp) -> None:
    """Check that a file is the one that another process has mapped.

    Args:
        path: The file.
        stamp: Of the one that was mapped.

    Raises:
        DataError: It is another one.
    """
    if file_stamp(path) != stamp:
        raise DataError(f"{path}: was replaced since it was opened; load the studies again")
