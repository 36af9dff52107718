"""What a person sees while something runs: a progress bar, and one line for every training step.

Everything goes to the error stream, so that the standard output holds results only.
"""

import functools
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from editgrpo.display.numbers import (
    MISSING,
    format_duration,
    format_number,
    format_score,
    format_share,
)

ProgressCallback = Callable[[int, int], None]
ProgressBar = Callable[[str], AbstractContextManager[ProgressCallback]]
"""Gives a progress callback for a stage's description."""

# Between the plain lines that stand in for a bar when nobody watches a terminal (a log file, CI).
PLAIN_INTERVAL_S = 15.0

# What is over sooner needs no line but the last.
PLAIN_DELAY_S = 2.0

# Before either is reached the time that is left is a guess: first steps are not like the others.
_GUESS_SHARE, _GUESS_S = 0.05, 15.0

# The steps whose mean duration the estimate of the remaining time rests on.
_ETA_WINDOW = 20

_WIDE_COLUMNS = 100


@functools.cache
def message_console() -> Console:
    """Return the console on the error stream that bars and step lines share.

    One console for both: a line printed while a bar is live then appears above it.
    """
    return Console(stderr=True, highlight=False)


@contextmanager
def progress_bar(description: str, *, console: Console | None = None) -> Iterator[ProgressCallback]:
    """Show how far a long computation is.

    On a terminal this is a live bar; elsewhere a plain line after 2 seconds, every 15 seconds and
    at the end.

    Args:
        description: What is being done, in a few words.
        console: Where to show it; None takes the shared console on the error stream.

    Yields:
        A function of (done, total), to be called as often as convenient.
    """
    shown_on = console or message_console()
    if not shown_on.is_terminal:
        yield _PlainProgress(description, shown_on)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=shown_on, expand=True) as progress:
        task = progress.add_task(description, total=None)

        def advance(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield advance


@contextmanager
def closing_bar(description: str) -> Iterator[ProgressCallback]:
    """Show a progress bar only from its first call until all is done; then it may start again.

    For a part of a longer computation that prints lines of its own afterwards.

    Args:
        description: What is being done, in a few words.

    Yields:
        A function of (done, total).
    """
    with stage_bars() as advance:
        yield functools.partial(advance, description)


@contextmanager
def stage_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show one progress bar after another, for work that goes through stages.

    Yields:
        A function of (stage, done, total); a stage ends when all of it is done, or another begins.
    """
    with ExitStack() as live:
        shown: dict[str, ProgressCallback] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in shown:
                live.close()
                shown.clear()
                shown[stage] = live.enter_context(progress_bar(stage))
            shown[stage](done, total)
            if done >= total:
                live.close()
                shown.clear()

        yield advance


class _PlainProgress:
    """Occasional lines in place of a bar."""

    def __init__(self, description: str, console: Console) -> None:
        self._description = description
        self._console = console
        self._started = time.monotonic()
        self._shown_at: float | None = None
        self._end: tuple[int, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        if (done, total) == self._end:
            return
        now = time.monotonic()
        waited = now - (self._shown_at or self._started)
        interval = PLAIN_DELAY_S if self._shown_at is None else PLAIN_INTERVAL_S
        if waited < interval and done < total:
            return
        self._shown_at = now
        self._end = (done, total) if done >= total else None
        elapsed = now - self._started
        left = f" after {format_duration(elapsed)}"
        if done and (elapsed >= _GUESS_S or done >= _GUESS_SHARE * total):
            left += f", {format_duration(elapsed / done * (total - done))} left"
        if done >= total:
            left = f" in {format_duration(elapsed)}"
        self._console.print(f"{self._description}: {done}/{total}{left}", soft_wrap=True)


class Pace:
    """How long the last steps took, and so how long the next will."""

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=_ETA_WINDOW)

    def add(self, seconds: float) -> None:
        """Note the duration of a step."""
        self._durations.append(seconds)

    def remaining(self, steps: float) -> float | None:
        """Return the seconds that so many steps will take; None before the first duration."""
        if not self._durations:
            return None
        return sum(self._durations) / len(self._durations) * max(0.0, steps)


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    keep: int  # where the terminal is too narrow, the column with the lowest value goes first
    text: Callable[[Mapping[str, float], Mapping[str, float]], str]
    style: str = ""


class StepLine:
    """Prints a training step as one line with fixed columns.

    The columns are: step of steps; mean reward of the sampled rollouts and its standard error; the
    mean of every reward component; share of rollouts that were edited; share of those edits that
    raise the reward; KL to the reference policy; share of clipped tokens; mean length in tokens;
    duration of the step; estimated time to the end. On a narrow terminal the columns that say least
    are left out, component means first.
    """

    def __init__(
        self, total_steps: int, *, console: Console | None = None, header_every: int = 25
    ) -> None:
        """Prepare the lines of one run.

        Args:
            total_steps: Steps of the whole run.
            console: Where the lines go; None takes the shared console on the error stream.
            header_every: Lines between two headers.
        """
        self._total_steps = total_steps
        self._console = console or message_console()
        self._header_every = header_every
        self._columns: list[_Column] | None = None
        self._lines = 0
        self._pace = Pace()

    def show(self, metrics: Mapping[str, float], timings: Mapping[str, float]) -> None:
        """Print the line of one step, below a header where one is due.

        Args:
            metrics: One object of `metrics.jsonl`.
            timings: The object of `timings.jsonl` of the same step; may be empty.
        """
        line = self.line(metrics, timings)
        if self._lines % self._header_every == 0:
            self._console.print(self.header(metrics), soft_wrap=True)
        self._console.print(line, soft_wrap=True)
        self._lines += 1

    def header(self, metrics: Mapping[str, float]) -> Text:
        """Return the column titles.

        Args:
            metrics: Any step's metrics; its keys tell which reward components there are.

        Returns:
            One line as wide as the step lines.
        """
        cells = (column.title.rjust(column.width) for column in self._fitting(metrics))
        return Text(" ".join(cells), style="bold dim", no_wrap=True)

    def line(self, metrics: Mapping[str, float], timings: Mapping[str, float]) -> Text:
        """Return one step as a line.

        Args:
            metrics: One object of `metrics.jsonl`; a key that is missing shows as a dash.
            timings: The object of `timings.jsonl` of the same step; may be empty.

        Returns:
            One line without a line break.
        """
        if "seconds/step" in timings:
            self._pace.add(timings["seconds/step"])
        line = Text(no_wrap=True)
        for index, column in enumerate(self._fitting(metrics)):
            text = column.text(metrics, timings).rjust(column.width)
            line.append((" " if index else "") + text, style=column.style)
        return line

    def _fitting(self, metrics: Mapping[str, float]) -> list[_Column]:
        if self._columns is None:
            columns = self._all_columns(metrics)
            while len(columns) > 1 and _total_width(columns) > self._console.width:
                columns.remove(min(columns, key=lambda column: column.keep))
            self._columns = columns
        return self._columns

    def _all_columns(self, metrics: Mapping[str, float]) -> list[_Column]:
        is_wide = self._console.width >= _WIDE_COLUMNS
        digits, step_width = (3 if is_wide else 2), len(str(self._total_steps))
        width = {True: 13, False: 9}[is_wide]
        columns = [
            _Column("step", 2 * step_width + 1, 99, self._step, "dim"),
            _Column("reward", width, 98, lambda m, _: _plus_minus(m, digits), "bold"),
        ]
        for order, name in enumerate(_components(metrics)):
            columns.append(_component_column(name, digits, keep=9 - order))
        return [
            *columns,
            _Column("edit", 4, 90, lambda m, _: format_share(_edited_share(m)), "cyan"),
            _Column("up", 4, 80, lambda m, _: format_share(m.get("edits/raised")), "cyan"),
            _Column("KL", 7, 85, lambda m, _: format_number(m.get("kl"))),
            _Column("clip", 4, 60, lambda m, _: format_share(m.get("clip_share"))),
            _Column("len", 4, 70, lambda m, _: _whole(m.get("length/sampled/mean"))),
            _Column("time", 5, 50, lambda _, t: format_duration(t.get("seconds/step")), "dim"),
            _Column("eta", 6, 75, lambda m, _: format_duration(self._remaining(m)), "dim"),
        ]

    def _step(self, metrics: Mapping[str, float], _: Mapping[str, float]) -> str:
        step = f"{metrics['step']:.0f}" if "step" in metrics else MISSING
        return f"{step}/{self._total_steps}"

    def _remaining(self, metrics: Mapping[str, float]) -> float | None:
        if "step" not in metrics:
            return None
        return self._pace.remaining(self._total_steps - metrics["step"])


def _total_width(columns: list[_Column]) -> int:
    return sum(column.width for column in columns) + len(columns) - 1


def _components(metrics: Mapping[str, float]) -> list[str]:
    prefix = "reward/sampled/"
    names = [key.removeprefix(prefix) for key in metrics if key.startswith(prefix)]
    return [name for name in names if name not in ("mean", "se")]


def _component_column(name: str, digits: int, *, keep: int) -> _Column:
    # Enough of the name to tell the components apart; the full names are in metrics.jsonl.
    width = 5 if digits < 3 else 8
    title = name.partition("@")[0].replace("entity_", "").partition("/")[0][:width]
    key = f"reward/sampled/{name}"
    return _Column(title, width, keep, lambda m, _: format_score(m.get(key), digits))


def _plus_minus(metrics: Mapping[str, float], digits: int) -> str:
    mean, se = metrics.get("reward/sampled/mean"), metrics.get("reward/sampled/se")
    if se is None:
        return format_score(mean, digits)
    return f"{format_score(mean, digits)}±{format_score(se, digits)}"


def _edited_share(metrics: Mapping[str, float]) -> float | None:
    """Share of the edited half that differs from its rollouts: an edit over the length limit does
    not."""
    if "edits/none" not in metrics:
        return None
    # The sum of shares may pass 1 by a rounding error.
    return max(0.0, 1 - metrics["edits/none"] - metrics.get("edits/unused", 0.0))


def _whole(value: float | None) -> str:
    return MISSING if value is None else f"{value:.0f}"
