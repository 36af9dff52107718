"""Runs jobs side by side, each in a process of its own with one thread.

A job whose start is not trained yet waits for it. A job that fails ends those that would start from
it; the others go on, and the command ends with what went wrong.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from editgrpo.display.numbers import format_duration
from editgrpo.errors import TrainingError
from experiments.definitions import BASE, Arm, Stage
from experiments.job import Job, read_progress
from experiments.places import REPOSITORY, Places

_POLL_S = 0.5
# Without a terminal a line so often says what runs.
_PLAIN_S = 60.0
# Training takes far longer than all else that a job does.
_SHARE_OF_PHASE = {
    "training": (0.0, 0.9),
    "in-domain": (0.9, 0.05),
    "out-of-domain": (0.95, 0.05),
    "validation": (0.9, 0.1),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a command asks for."""

    stages: Sequence[Stage]
    arms: Mapping[str, Arm]
    """All arms."""
    names: Sequence[str]
    """Those that are wanted."""
    seeds: Sequence[int]
    places: Places


def jobs_of(wanted: Wanted) -> list[Job]:
    """Return the jobs that are left to do, seed by seed, each behind the one that it starts from.

    Args:
        wanted: What is asked for.

    Returns:
        Jobs without a result, and those whose model another one needs and which is not there.

    Raises:
        DataError: a result was made with other settings than it would be now.
    """
    found: dict[Path, Job] = {}

    def add(stage: Stage, name: str, seed: int, *, for_model: bool) -> None:
        job = Job(stage=stage, arms=wanted.arms, arm=name, seed=seed, places=wanted.places)
        is_done = job.has_result()  # refuses what was made with other settings in any case
        if job.run in found or (job.has_model if for_model else is_done):
            return
        start = wanted.arms[name].start
        if start != BASE and not job.has_model:
            add(stage, start, seed, for_model=True)
        found[job.run] = job

    for seed in wanted.seeds:
        for stage in wanted.stages:
            for name in wanted.names:
                add(stage, name, seed, for_model=False)
    return list(found.values())


@dataclass(slots=True)
class _Running:
    job: Job
    process: "subprocess.Popen[bytes]"
    log: IO[bytes]
    began: float = field(default_factory=time.monotonic)


def run_jobs(jobs: Sequence[Job], *, most: int, options: Sequence[str] = ()) -> None:
    """Run jobs until all are done.

    Args:
        jobs: From `jobs_of`.
        most: How many at once.
        options: Words for each job's own command, such as where results go.

    Raises:
        TrainingError: jobs failed; it names the first, its last line and its log.
    """
    waiting, failed, done = list(jobs), list[tuple[Job, str]](), 0
    console = Console(stderr=True, highlight=False)
    with ExitStack() as open_things:
        running: list[_Running] = []
        open_things.callback(_end_all, running)
        shown = open_things.enter_context(_shown(console, len(jobs)))
        while waiting or running:
            for job in _startable(waiting, [one.job for one in running])[: most - len(running)]:
                waiting.remove(job)
                running.append(_start(job, options))
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                one.log.close()
                took = format_duration(time.monotonic() - one.began)
                if one.process.returncode:
                    reason = _last_line(Path(one.log.name))
                    failed.append((one.job, reason))
                    console.print(f"[red]failed[/red] {one.job.name} after {took}: {reason}")
                    waiting = [job for job in waiting if not _needs(job, one.job)]
                else:
                    done += 1
                    console.print(f"done {one.job.name} in {took}")
            shown.show(running, done)
            time.sleep(_POLL_S)
    if failed:
        job, reason = failed[0]
        raise TrainingError(
            f"{len(failed)} of {len(jobs)} jobs failed; {job.name}: {reason} (its log is "
            f"{_log_path(job)}); the same command goes on from here"
        )


def _end_all(running: Sequence[_Running]) -> None:
    for one in running:
        one.process.terminate()


def _startable(waiting: Sequence[Job], running: Sequence[Job]) -> list[Job]:
    unfinished = [*waiting, *running]
    return [job for job in waiting if not any(_needs(job, other) for other in unfinished)]


def _needs(job: Job, other: Job) -> bool:
    """Say whether a job starts, over any number of others, from another job's model."""
    if job.has_model or (job.stage.name, job.seed) != (other.stage.name, other.seed):
        return False
    start = job.arms[job.arm].start
    while start != BASE:
        if start == other.arm:
            return True
        start = job.arms[start].start
    return False


def _start(job: Job, options: Sequence[str]) -> _Running:
    path = _log_path(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.open("ab")
    words = ["job", job.stage.name, job.arm, "--seed", str(job.seed), *options]
    source = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments", *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join(part for part in source if part),
        },
    )
    return _Running(job, process, log)


def _log_path(job: Job) -> Path:
    return job.run.with_name(f"{job.run.name}.log")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it left no message")


def progress_share(told: Mapping[str, object]) -> float:
    """Return how much of a job is done, 0 to 1, by what it told last."""
    start, width = _SHARE_OF_PHASE.get(str(told.get("phase")), (0.0, 0.0))
    done, total = told.get("done"), told.get("total")
    if not isinstance(done, int) or not isinstance(total, int) or total < 1:
        return start
    return start + width * min(1.0, done / total)


class _shown:  # noqa: N801  a context manager, read as a verb
    """Bars of the jobs that run and one of all; without a terminal a line now and then."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        self._began = self._told_at = time.monotonic()
        self._overall = 0.0
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console)
        self._tasks = {"all": self._bars.add_task("all", total=1.0)}
        self._live = Live(self._bars, console=console) if console.is_terminal else None

    def __enter__(self) -> "_shown":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, running: Sequence[_Running], done: int) -> None:
        """Show what runs, and how many jobs are done."""
        told = [read_progress(one.job.run) for one in running]
        shares = [progress_share(one) for one in told]
        overall = (done + sum(shares)) / self._total
        left = self._left(overall)
        lines = [
            f"{one.job.name}: {what.get('phase', 'starting')} {what.get('done', 0)}"
            f"/{what.get('total', '?')}"
            for one, what in zip(running, told, strict=True)
        ]
        head = f"{done}/{self._total} jobs{left}"
        if self._live is None:
            if time.monotonic() - self._told_at >= _PLAIN_S:
                self._told_at = time.monotonic()
                self._console.print("; ".join([head, *lines]), soft_wrap=True)
            return
        self._bars.update(self._tasks["all"], description=head, completed=overall)
        names = [one.job.name for one in running]
        for name in [name for name in self._tasks if name != "all" and name not in names]:
            self._bars.remove_task(self._tasks.pop(name))
        for name, line, share in zip(names, lines, shares, strict=True):
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(line, total=1.0)
            self._bars.update(self._tasks[name], description=line, completed=share)

    def _left(self, overall: float) -> str:
        if overall <= 0:
            return ""
        elapsed = time.monotonic() - self._began
        return f", {format_duration(elapsed / overall * (1 - overall))} left"
