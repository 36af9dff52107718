"""The clinical models as a table, and how far their downloads are."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from editgrpo.clinical.status import ModelState, ModelStatus
from editgrpo.display.numbers import MISSING
from editgrpo.display.terminal import PLAIN_DELAY_S, PLAIN_INTERVAL_S, message_console

BytesCallback = Callable[[str, int, int], None]

_STYLES = {
    ModelState.PRESENT: "green",
    ModelState.TOUCHED: "yellow",
    ModelState.CHANGED: "red",
    ModelState.INCOMPLETE: "red",
    ModelState.MISSING: "dim",
}
_SHORT_COMMIT = 7
_WIDE = 120  # columns of the console


class ModelsTable:
    """Models as rows; on a narrow console purpose and source share a column."""

    def __init__(self, statuses: Sequence[ModelStatus]) -> None:
        """Prepare the table.

        Args:
            statuses: The models, in the order of the rows.
        """
        self._statuses = statuses

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table at the width of the console."""
        is_wide = options.max_width >= _WIDE
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("model", no_wrap=True)
        for title in ("for", "source at commit") if is_wide else ("for, source at commit",):
            table.add_column(title, overflow="fold")
        table.add_column("size", justify="right", no_wrap=True)
        table.add_column("state", overflow="fold")
        for status in self._statuses:
            purpose, origin = Text(status.source.entry.purpose), Text(_origin(status), style="dim")
            described = (purpose, origin) if is_wide else (Text("\n").join((purpose, origin)),)
            size = MISSING if status.size is None else decimal(status.size)
            table.add_row(status.source.model.value, *described, size, _state(status))
        yield table


def _origin(status: ModelStatus) -> str:
    source = status.source
    if source.is_own:
        return str(source.folder)
    commit = f"@{status.revision[:_SHORT_COMMIT]}" if status.revision else ""
    return f"{source.entry.parts[0].repository}{commit}"


def _state(status: ModelStatus) -> Text:
    state = Text(status.state, style=_STYLES[status.state])
    return state.append(f": {status.detail}") if status.detail else state


@contextmanager
def bytes_bar(description: str) -> Iterator[BytesCallback]:
    """Show how many bytes have been moved or read.

    On a terminal this is a live bar with speed and remaining time; elsewhere a plain line after 2
    seconds and every 15 seconds.

    Args:
        description: What is being done, until the first call says it more precisely.

    Yields:
        A function of (description, bytes done, bytes in all), to be called as often as convenient.
    """
    shown_on = message_console()
    if not shown_on.is_terminal:
        yield _PlainBytes(shown_on)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=shown_on, expand=True, transient=True) as progress:
        task = progress.add_task(description, total=None)

        def advance(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield advance


class _PlainBytes:
    """Occasional lines in place of a bar."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due = time.monotonic() + PLAIN_DELAY_S

    def __call__(self, what: str, done: int, total: int) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PLAIN_INTERVAL_S
        self._console.print(
            f"{what}: {decimal(done)} of {decimal(total)}", soft_wrap=True, markup=False
        )
