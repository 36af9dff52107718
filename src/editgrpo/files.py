"""Files that are whole or absent, and JSON lines that say where they are wrong.

A file is written beside its final name and renamed when it is complete, so that a crash, a full
disk or Ctrl-C leaves nothing half-written under a final name. Left out on purpose: files that grow
line by line during a run (metrics, rollouts); a resumed run cuts those back to its checkpoint.

What is made here is for its owner's eyes (mode 0600, or less where the umask asks for less): nearly
every file of this package holds report text, or may one day. What belongs to a model and not to a
patient is written `shared=True` and is as readable as the umask lets it be.
"""

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from editgrpo.errors import DataError, EditGRPOError
from editgrpo.foreign import STORAGE_REMEDIES, reading

_PRIVATE = 0o600
_SHARED = 0o666


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Give a temporary path next to `path`, and rename it to `path` when the block ends well.

    Missing parent folders are made. If the block raises, the temporary file is removed and whatever
    stood at `path` stays. Threads, processes and machines may write one path at once: the last to
    finish wins. What stood at `path` hands on no mode: a file that is written anew is private anew.

    Args:
        path: The final name.
        shared: Whether others may read the file as the umask lets them; else it is the owner's.

    Yields:
        The path to write to, in the same folder; it keeps the suffix of `path`. An empty file
        stands there, with the mode that the final one will have.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.partial{path.suffix}")
    try:
        with naming(path):
            _create(partial, os.O_EXCL, _SHARED if shared else _PRIVATE)
            yield partial
            os.replace(partial, path)
    except OSError as error:
        if error.filename == str(partial):
            error.filename = str(path)  # the name that somebody gave
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in the error of a write that finds no room: the system names what it cannot
    open, not what it cannot write."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in STORAGE_REMEDIES:
            error.filename = str(path)
        raise


def real_path(path: Path) -> Path:
    """Return the absolute path that all links lead to, of something that need not exist.

    Links that lead back to themselves stay; whoever opens them is told so by the system.
    `Path.resolve` raises a RuntimeError at them up to Python 3.12.
    """
    return Path(os.path.realpath(path))


def create_private(path: Path) -> None:
    """Make an empty file that its owner alone may read, for a library to fill; one that is there
    stays as it is, its mode too."""
    _create(path, 0, _PRIVATE)


def open_to_append(path: Path) -> IO[str]:
    """Open a UTF-8 file that grows line by line; a new one is its owner's alone, one that is there
    keeps its mode."""
    create_private(path)
    return path.open("a", encoding="utf-8", newline="\n")


def _create(path: Path, flags: int, mode: int) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | flags, mode))


def remove_partial_files(folder: Path) -> None:
    """Remove what writers that were killed left in a folder; nobody may be writing to it."""
    for partial in folder.glob(".*.partial*"):
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, shared: bool = False) -> None:
    """Write a UTF-8 text file, whole or not at all; for `shared` see `replacing`."""
    with replacing(path, shared=shared) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any, *, shared: bool = False) -> None:
    """Write a value as indented JSON, keys in their given order, whole or not at all.

    Args:
        path: The final name.
        value: Whatever `json` takes.
        shared: See `replacing`.

    Raises:
        ValueError: the value holds NaN or an infinity, which JSON cannot say.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, shared=shared)


def json_line(row: Mapping[str, Any]) -> str:
    """Return one JSON object as one line with its line end; NaN and infinities are a ValueError."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, keys in their given order, whole or not at all.

    Args:
        path: The final name.
        rows: The objects; taken one at a time, so that they may be produced while writing.

    Returns:
        How many lines were written.
    """
    count = 0
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            stream.write(json_line(row))
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read one JSON object a line; empty lines are passed over.

    Args:
        path: A UTF-8 file, with or without a byte order mark.

    Yields:
        The line's number, counted from 1, and its object.

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8, not JSON or not an object; the
            message names file and line and holds nothing of the line's content.
    """
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                if raw.strip():
                    yield number, parse_json_object(raw, f"{path}, line {number}")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; give a readable file") from error


def read_json_object(
    path: Path, remedy: str, *, error: type[EditGRPOError] = DataError
) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: A UTF-8 file, with or without a byte order mark.
        remedy: What to do if it cannot be used; ends the message.
        error: Which error is raised.

    Returns:
        The object.

    Raises:
        EditGRPOError: of the kind asked for: it cannot be read, or is not a JSON object.
    """
    with reading(path, remedy, error=error):
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(value, dict):
        raise error(f"{path}: not a JSON object; {remedy}")
    return value


def parse_json_object(raw: bytes, place: str) -> dict[str, Any]:
    """Parse one line of a JSON lines file.

    Args:
        raw: UTF-8, with or without a byte order mark.
        place: Where the line stands, for messages.

    Returns:
        The object.

    Raises:
        DataError: not UTF-8, not JSON, or not an object.
    """
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}, column {error.colno}: {error.msg}; each line must hold one whole JSON "
            "object, and the name of a CSV file must end in .csv"
        ) from error
    except (RecursionError, ValueError) as error:  # too deep, or a number of thousands of digits
        raise DataError(
            f"{place}: cannot be read ({type(error).__name__}); each line must hold one JSON object"
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{place}: not a JSON object; each line must look like {{...}}")
    if b"\\u" in raw and not _can_be_written(value):
        raise DataError(f"{place}: holds half of a surrogate pair; write its text as valid UTF-8")
    return value


def _can_be_written(value: object) -> bool:
    """Say whether all text in a JSON value is valid; an escape can be half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
