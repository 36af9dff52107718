"""The border to what other libraries parse: decoders, archives, checkpoints, markup.

A library may raise anything at a damaged file: an IndexError, a struct.error, a plain Exception. A
list of what it has raised so far is never complete, so this is the one place of the package that
catches `Exception`. Use it around the call of the library and nothing else, so that a bug of ours
keeps its traceback.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from editgrpo.errors import DataError, EditGRPOError

# A machine that is out of space or handles says nothing about the file that is being read.
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@contextmanager
def reading(
    place: str | Path, remedy: str, *, error: type[EditGRPOError] = DataError, fault: str = ""
) -> Iterator[None]:
    """Turn whatever a foreign library raises at a file into one line.

    Errors of this package pass through unchanged, as do those that speak of the machine and not of
    the file: no memory, no space, no file handles.

    Args:
        place: The file, and where in it if known; begins the message. Empty where the caller puts
            it there.
        remedy: What to do; ends the message.
        error: Which error is raised.
        fault: What is wrong, in place of `cannot be read` and the class of the library's error: for
            messages that are counted, and must be the same for all files.

    Yields:
        Nothing.

    Raises:
        EditGRPOError: of the kind asked for. It names the class of the library's error and never
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
        raise error(f"{start}{fault or f'cannot be read ({reason})'}; {remedy}") from foreign
