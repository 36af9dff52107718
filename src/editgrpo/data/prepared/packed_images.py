"""Originals that lie inside a table: films that a data set of the Hugging Face library holds.

Their place is written as one text, like a path, so that it goes to other processes and into the
mark of a preparation as paths do: file, column, row and position in the row's list, parted by a
NUL, which no path can hold.
"""

import io
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from editgrpo.errors import DataError

_MARK = "\0"


def packed_place(file: str, column: str, row: int, position: int | None = None) -> str:
    """Write the place of a film.

    Args:
        file: An Arrow file in stream format, as the Hugging Face library caches them.
        column: Of `{bytes, path}`, or of lists of these.
        row: In the file, from 0.
        position: In the row's list; None where the column holds one film a row.

    Returns:
        The place.
    """
    return _MARK.join((file, column, str(row), "" if position is None else str(position)))


def file_of(place: str) -> Path:
    """Return the file of a place, or of a path."""
    return Path(place.partition(_MARK)[0])


def open_packed(place: str) -> io.BytesIO | None:
    """Open a film inside a table.

    Args:
        place: A place, or a path.

    Returns:
        The film's file; None for a path.

    Raises:
        DataError: The table cannot be read or has no such film.
    """
    if _MARK not in place:
        return None
    file, column, row, position = place.split(_MARK)
    try:
        value = _table(file)[column][int(row)].as_py()
        film = value if not position else value[int(position)]
        return io.BytesIO(film["bytes"])
    except (OSError, pa.ArrowInvalid, KeyError, IndexError, TypeError) as error:
        raise DataError(f"{file}: is not the table that was read; prepare again") from error


@lru_cache(maxsize=4)
def _table(file: str) -> pa.Table:
    """Map a table; only the films that are asked for are read."""
    return pa.ipc.open_stream(pa.memory_map(file)).read_all()
