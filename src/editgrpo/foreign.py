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
    place: str | Path, remedy: str, *, error: type[EditGRPOError] = DataError
) -> Iterator[None]:
    """Turn whatever a foreign library raises at a file into one line.

    Errors of this package pass through unchanged, as do those that speak of the machine and not of
    the file: no memory, no space, no file handles.

    Args:
        place: The file, and where in it if known; begins the message.
        remedy: What to do; ends the message.
        error: Which error is raised.

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
    except OSError as foreign:
        if foreign.errno in _OF_THE_MACHINE:
            raise
        reason = foreign.strerror or type(foreign).__name__
        raise error(f"{place}: cannot be read ({reason}); {remedy}") from foreign
    except Exception as foreign:
        name = type(foreign).__name__
        raise error(f"{place}: cannot be read ({name}); {remedy}") from foreign
