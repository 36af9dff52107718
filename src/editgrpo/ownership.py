"""An output has one owner: whoever writes to it holds a lock as long as it lives.

The lock is the operating system's and is gone with its process, however that ended; a lock file
that is left behind locks nothing. It lies beside the output, hidden, and says who the owner is;
where the folder around an output cannot be written to, it lies in the output itself.

The processes of one launch (torchrun, accelerate) write to one output together: the first holds the
lock for all.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editgrpo.errors import ConfigError
from editgrpo.files import real_path

_INNER_LOCK = ".editgrpo.lock"


@dataclass(slots=True)
class _Held:
    """An output that this process owns."""

    lock: Any
    """Of filelock, which is loaded when there is something to lock."""
    made: tuple[Path, ...]
    """Folders that were made for the lock, the innermost first."""
    count: int = 0
    """How many that run in this process asked for it."""


_HELD: dict[Path, _Held] = {}


def is_lock(path: Path) -> bool:
    """Say whether a file is a lock, which does not count as content of its folder."""
    return path.name.startswith(".") and path.suffix == ".lock"


def is_first_process() -> bool:
    """Say whether this is the only process or the first of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def owning(output: Path) -> Iterator[None]:
    """Own an output while the block runs.

    Args:
        output: File or folder; it need not exist. This process may own it already.

    Yields:
        Nothing.

    Raises:
        ConfigError: another process owns it; the message names process and host.
        OSError: no lock can be made there.
    """
    own(output)
    try:
        yield
    finally:
        _let_go(real_path(output))


def own(output: Path) -> None:
    """Own an output until `disown_all`, or as long as this process lives.

    Args:
        output: File or folder; it need not exist.

    Raises:
        ConfigError: another process owns it; the message names process and host.
        OSError: no lock can be made there.
    """
    if not is_first_process():
        return
    place = real_path(output)
    if place.is_symlink():  # its links lead back to themselves, and it would be replaced
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(output))
    if place not in _HELD:
        _HELD[place] = _locked(output, place)
    _HELD[place].count += 1


def check_none_writes_in(folder: Path) -> None:
    """Make sure that no other process writes to anything in a folder.

    Args:
        folder: A folder that this process owns.

    Raises:
        ConfigError: another process owns something in it; the message names both.
        OSError: a lock in it cannot be opened.
    """
    from filelock import FileLock, Timeout

    mine = {Path(held.lock.lock_file) for held in _HELD.values()}
    for path in sorted(real_path(folder).rglob(".*.lock")):
        if path in mine or not path.is_file():
            continue
        lock = FileLock(path)
        try:
            with lock.acquire(timeout=0):
                continue  # left by a process that was killed
        except Timeout:
            raise ConfigError(
                f"{path.parent}: {_owner(path)} writes there, in {folder}; wait until it has "
                "ended, or name another output"
            ) from None


def disown_all() -> None:
    """Let go of every output that this process owns."""
    for place in reversed(list(_HELD)):  # a folder that was made for one may hold others
        _HELD[place].count = 1
        _let_go(place)


def _let_go(place: Path) -> None:
    if place not in _HELD:  # another process of the launch holds it
        return
    held = _HELD[place]
    held.count -= 1
    if held.count:
        return
    del _HELD[place]
    # Before it is released: a process that has just opened the file sees that it has no name.
    with suppress(OSError):
        os.unlink(held.lock.lock_file)
    held.lock.release()
    with suppress(OSError):  # whatever was written stays
        for folder in held.made:
            folder.rmdir()


def _locked(output: Path, place: Path) -> _Held:
    from filelock import FileLock, Timeout

    path = _lock_path(place)
    made = tuple(folder for folder in path.parents if not folder.exists())
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"{output}: {_owner(path)} writes to it; wait until it has ended, or name another "
            "output"
        ) from None
    except OSError as error:
        if error.filename == str(path):
            error.filename = str(output)  # the name that somebody gave
        raise
    with suppress(OSError):  # a full disk is for the output's own files to meet
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    return _Held(lock=lock, made=made)


def _lock_path(place: Path) -> Path:
    if not place.name or (place.is_dir() and not os.access(place.parent, os.W_OK)):
        return place / _INNER_LOCK  # a volume that is mounted, say, or the root
    return place.with_name(f".{place.name}.lock")


def _owner(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip() or "another process"
    return "another process"
