"""Work spread over processes, with results in order."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process, resource_tracker
from typing import TypeVar

from editgrpo.errors import ConfigError, DataError

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how much of it is done, how much there is)."""

# Chunks that wait for a process, beside the one it works on: enough that none is idle.
_AHEAD = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_workers() -> int:
    """Return how many processes this one may use: one a core that it was given."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, chunk: int = 1
) -> Generator[Result, None, None]:
    """Apply a function to items in several processes.

    Args:
        function: Picklable, as are items and results.
        items: Taken as they are needed: the processes are never far ahead of whoever takes results.
        workers: Processes; with 1, everything happens in this one.
        chunk: Items handed to a process at once; more cost less and wait longer.

    Yields:
        Results in the order of the items.

    Raises:
        ConfigError: `workers` is below 1.
        DataError: A process died.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1")
    if workers == 1:
        yield from map(function, items)
        return
    # Not fork: the parent may have loaded libraries with threads of their own.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=follow_the_parent)
    pending: deque[Future[list[Result]]] = deque()
    rest = iter(items)
    try:
        while part := list(islice(rest, chunk)):
            with deaf_to_ctrl_c():
                pending.append(pool.submit(_apply, function, part))
            if len(pending) > workers * _AHEAD:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died, perhaps for want of memory; run again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Let a process that starts in the block, and inherits this, hear no Ctrl-C while it imports:
    its initializer comes after, and each process would show a traceback of its own."""
    resource_tracker.ensure_running()  # as it starts, it lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _apply(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]


def follow_the_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, were it killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def leave() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=leave, daemon=True).start()
