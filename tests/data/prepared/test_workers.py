"""Functions given to processes are those of libraries: a process need not load the tests."""

import contextlib
import math
import operator
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from editgrpo.data.prepared.workers import default_workers, ordered_map
from editgrpo.errors import ConfigError, DataError
from tests.builders import is_running, wait_until


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_results_come_in_the_order_of_the_items(workers: int, chunk: int) -> None:
    items = [k * 37 % 50 for k in range(50)]
    assert list(ordered_map(math.sqrt, items, workers=workers, chunk=chunk)) == [
        math.sqrt(k) for k in items
    ]


@pytest.mark.slow
def test_a_slow_item_does_not_let_others_pass(tmp_path: Path) -> None:
    # The first takes longest: with two processes the others end before it.
    waits = [0.2, 0.0, 0.0, 0.0, 0.0]
    slow = partial(eval, "(__import__('time').sleep(w), w)[1]")
    assert list(ordered_map(slow, [{"w": wait} for wait in waits], workers=2)) == waits


def test_no_items_give_no_results() -> None:
    assert list(ordered_map(math.sqrt, [], workers=2)) == []


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 4])
def test_items_are_taken_as_they_are_needed(chunk: int) -> None:
    taken: list[int] = []

    def take(item: int) -> int:
        taken.append(item)
        return item

    results = ordered_map(operator.neg, map(take, range(1_000)), workers=2, chunk=chunk)
    ahead = [len(taken) - done for done, _ in zip(range(1, 101), results, strict=False)]
    results.close()
    # Two processes, three chunks each that wait, and the one that is being handed over.
    assert max(ahead) <= (2 * 3 + 1) * chunk
    assert len(taken) < 200


def test_one_worker_is_this_process_and_takes_one_item_at_a_time() -> None:
    items = iter(range(5))
    results = ordered_map(lambda _: os.getpid(), items, workers=1)  # a lambda cannot be sent away
    assert next(results) == os.getpid()
    assert next(items) == 1


@pytest.mark.slow
def test_several_workers_are_other_processes() -> None:
    pids = set(ordered_map(eval, ["__import__('os').getpid()"] * 20, workers=2))
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_function_raises_is_raised_here(workers: int) -> None:
    results = ordered_map(math.sqrt, [4.0, -1.0, 9.0], workers=workers)
    assert next(results) == 2.0
    with pytest.raises(ValueError, match=r"domain|nonnegative"):
        list(results)
    assert not active_children()


def test_an_error_of_the_package_keeps_its_kind_and_message() -> None:
    raising = "exec('from editgrpo.errors import DataError\\nraise DataError(\"file: reason\")')"
    with pytest.raises(DataError, match=r"^file: reason$"):
        list(ordered_map(eval, [raising], workers=2))


@pytest.mark.slow
def test_a_process_that_was_killed_is_a_data_error() -> None:
    kill = "__import__('os').kill(__import__('os').getpid(), 9)"
    with pytest.raises(DataError, match=r"^a worker process died, .*; run again with fewer --wor"):
        list(ordered_map(eval, ["1", kill, "2"], workers=2))
    assert not active_children()


@pytest.mark.slow
def test_whoever_stops_early_leaves_no_process_behind() -> None:
    results = ordered_map(math.sqrt, range(10_000), workers=2)
    assert next(results) == 0.0
    assert active_children()
    results.close()
    assert not active_children()


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_worker_is_an_error(workers: int) -> None:
    with pytest.raises(ConfigError, match=f"workers is {workers}; it must be at least 1"):
        list(ordered_map(math.sqrt, [1.0], workers=workers))


def test_the_default_is_what_this_process_was_given() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("processes are bound to cores on Linux alone")
    given = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(given)})
        assert default_workers() == 1
    finally:
        os.sched_setaffinity(0, given)
    assert default_workers() == len(given)


# Each item writes the process that works on it, and takes long enough to be killed at it.
_SCRIPT = """
    import os, signal, sys, time
    from pathlib import Path
    from editgrpo.data.prepared.workers import ordered_map

    if __name__ == "__mp_main__":  # a worker, as it imports this
        Path(sys.argv[1], str(os.getpid())).touch()
        time.sleep(float(sys.argv[3]))

    def work(item):
        Path(sys.argv[1], str(os.getpid())).touch()
        time.sleep(float(sys.argv[2]))

    if __name__ == "__main__":
        # Tests that run in the background of a shell are deaf to it, and so are their children.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for _ in ordered_map(work, range(10_000), workers=2):
            pass
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], list[int]]]]:
    """Give a function that starts a script with two workers and returns it with their ids."""
    script, pids = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(textwrap.dedent(_SCRIPT))
    pids.mkdir()
    processes = []

    def start(seconds: float, *, importing_s: float = 0) -> tuple[subprocess.Popen[str], list[int]]:
        processes.append(
            subprocess.Popen(
                [sys.executable, str(script), str(pids), str(seconds), str(importing_s)],
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        assert wait_until(lambda: len(list(pids.iterdir())) == 2)
        return processes[0], [int(path.name) for path in pids.iterdir()]

    yield start
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # what a failed test left
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.001, 1_000])
def test_workers_end_when_the_parent_is_killed(start: Any, seconds: float) -> None:
    process, workers = start(seconds)
    assert all(is_running(pid) for pid in workers)
    process.kill()
    process.communicate()
    assert wait_until(lambda: not any(is_running(pid) for pid in workers), timeout_s=10)


@pytest.mark.slow
@pytest.mark.parametrize("importing_s", [0, 1.0])
def test_ctrl_c_ends_parent_and_workers_with_one_traceback(start: Any, importing_s: float) -> None:
    process, workers = start(0.05, importing_s=importing_s)
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - begin < 10
    assert errors.count("KeyboardInterrupt") == 1
    assert not any(is_running(pid) for pid in workers)
