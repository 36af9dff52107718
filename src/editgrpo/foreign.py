"""The border to what other libraries do: decoders, archives, checkpoints, markup, scorers.

A library may raise anything at a damaged file: an IndexError, a struct.error, a plain Exception. A
list of what it has raised so far is never complete, so this is the one place of the package that
catches `Exception`. Use it around the call of the library and nothing else, so that a bug of ours
keeps its traceback. Scorers, which may be plug-ins and call models, are foreign in the same way.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb

from editgrpo.errors import DataError, EditGRPOError, RewardError, ScorerBugError, StorageError

# What a scorer raises because it, or who calls it, is wrong in itself and not the report.
_BUGS = (TypeError, AttributeError, NameError)

STORAGE_REMEDIES = {
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space, or have the quota raised,",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EIO: "check the disk",
    errno.EROFS: "have the file system made writable, or name another output,",
}
"""What can be wrong with the place that is written to, and what to do about it."""

# A machine that is out of space or handles says nothing about the file that is being read.
_OF_THE_MACHINE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)

# Libraries in Rust (safetensors, tokenizers) say the number in words.
_RUST = re.compile(r"\(os error (\d+)\)")
# SQLite, and PyTorch's writer of archives, which does not say why it could not write.
_WORDS = re.compile(
    r"database or disk is full|PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+"
)
# A file system with less room than this is full: some file was longer than what is left.
_NO_ROOM_BYTES = 2**20

CANNOT_BE_READ = "cannot be read ({reason})"
"""What is wrong with a file, where there is nothing better to say."""


@contextmanager
def reading(
    place: str | Path,
    remedy: str,
    *,
    error: type[EditGRPOError] = DataError,
    fault: str = CANNOT_BE_READ,
) -> Iterator[None]:
    """Turn whatever a foreign library raises at a file into one line.

    Errors of this package pass through unchanged, as do those that speak of the machine and not of
    the file: no memory, no space, no file handles.

    Args:
        place: The file, and where in it if known; begins the message. Empty where the caller puts
            it there.
        remedy: What to do; ends the message.
        error: Which error is raised.
        fault: What is wrong; `{reason}` in it becomes the class of the library's error. Messages
            that are counted leave it out: they must be the same for all files.

    Yields:
        Nothing.

    Raises:
        EditGRPOError: of the kind asked for. It may name the class of the library's error and never
            repeats its words, which may hold report text.
    """
    try:
        yield
    except (EditGRPOError, MemoryError):
        raise
    except Exception as foreign:
        if isinstance(foreign, OSError) and foreign.errno in _OF_THE_MACHINE:
            raise
        reason = getattr(foreign, "strerror", None) or type(foreign).__name__
        start = f"{place}: " if str(place) else ""
        raise error(f"{start}{fault.replace('{reason}', reason)}; {remedy}") from foreign


@contextmanager
def scoring(name: str) -> Iterator[None]:
    """Turn whatever a scorer or annotator raises on its inputs into one line.

    Errors of this package pass through unchanged, and so does a full disk.

    Args:
        name: Whose failure it is; begins the message.

    Yields:
        Nothing.

    Raises:
        RewardError: it names the class of the error and its place, never its words, which may hold
            report text.
        ScorerBugError: the same, of what is a bug of ours or of a plug-in and not of the report: a
            TypeError, an AttributeError, a NameError.
    """
    try:
        yield
    except EditGRPOError:
        raise
    except Exception as foreign:
        if _storage_errno(foreign):
            raise
        frame = extract_tb(foreign.__traceback__)[-1]
        error = ScorerBugError if isinstance(foreign, _BUGS) else RewardError
        raise error(
            f"{name}: {type(foreign).__name__} in {Path(frame.filename).name}, "
            f"line {frame.lineno} ({frame.name}); --debug shows more, perhaps text of a report"
        ) from foreign


@contextmanager
def storing(place: Path | None = None) -> Iterator[None]:
    """Turn whatever is raised because a disk is full, or out of order, into one line.

    Errors of this package pass through, and so does all that has another reason.

    Args:
        place: What is written; begins the message. None takes the file that the error names.

    Yields:
        Nothing.

    Raises:
        StorageError: something could not be written.
    """
    try:
        yield
    except EditGRPOError:
        raise
    except Exception as foreign:
        code = _storage_errno(foreign)
        if code is None and not (place is not None and _is_full(place)):
            raise
        names = (getattr(error, "filename", None) for error in behind(foreign))
        named = place or next(filter(None, names), "the output")
        what = os.strerror(code) if code else "cannot be written"
        remedy = STORAGE_REMEDIES[code or errno.ENOSPC]
        raise StorageError(f"{named}: {what}", remedy) from foreign


def _storage_errno(foreign: BaseException) -> int | None:
    """Return which number of the system's stands behind an error, if it is about storage.

    0 stands for a library that says no number.
    """
    for error in behind(foreign):
        if isinstance(error, OSError) and error.errno in STORAGE_REMEDIES:
            return error.errno
        said = _RUST.search(str(error))
        if said is not None and int(said[1]) in STORAGE_REMEDIES:
            return int(said[1])
        if _WORDS.search(str(error)):
            return 0
    return None


def behind(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it, each once.

    Args:
        error: The last; None yields nothing.

    Yields:
        Each error. One that was raised again leads to itself.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_full(place: Path) -> bool:
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free < _NO_ROOM_BYTES
