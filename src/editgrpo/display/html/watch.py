"""The report of runs that go on, written again whenever they have."""

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path

from editgrpo.display.html.report import ReportSummary, write_report
from editgrpo.display.html.runs import has_ended
from editgrpo.errors import ConfigError

_Stamp = tuple[int, int]
# What the report reads of a run, but for the studies.
_READ = (
    "*.json",
    "*.jsonl",
    "config.yaml",
    "evaluation/**/*.json",
    "evaluation/**/predictions.jsonl",
)


def watch_report(
    runs: Sequence[Path],
    output: Path,
    *,
    title: str | None = None,
    every_s: float = 30.0,
    studies: Path | None = None,
    max_studies: int = 80,
    wait: Callable[[float], object],
) -> Generator[ReportSummary, None, None]:
    """Write the report of runs again and again until all of them have their model.

    A run may have written nothing yet. The page loads itself again while it is open; the last one,
    which is also written when the reader stops (`close` of the generator), no longer does.

    Args:
        runs: Run folders, in the order in which they shall be shown; they need not exist.
        output: The file to write.
        title: Heading of the page; None takes the names of the runs.
        every_s: Seconds between two looks at the runs; nothing is written where nothing changed.
        studies: See `write_report`.
        max_studies: See `write_report`.
        wait: Waits for so many seconds, as `time.sleep` does.

    Yields:
        What went into the report, each time that it was written.

    Raises:
        ConfigError: no run is given, or a number is out of range.
        DataError: `studies` holds no studies.
    """
    if every_s <= 0:
        raise ConfigError(f"every_s is {every_s:g}; it must be above 0")
    seen: dict[Path, _Stamp] | None = None

    def write(reload_s: float | None) -> ReportSummary:
        return write_report(
            runs,
            output,
            title=title,
            studies=studies,
            max_studies=max_studies,
            may_be_new=True,
            reload_s=reload_s,
        )

    try:
        while not all(map(has_ended, runs)):
            found = _stamps(runs)
            if found != seen:
                yield write(every_s)
            seen = found
            wait(every_s)
    except (GeneratorExit, KeyboardInterrupt):
        write(None)
        raise
    yield write(None)


def _stamps(runs: Sequence[Path]) -> dict[Path, _Stamp]:
    """Return time and size of every file that the report reads."""
    found = {}
    for path in (path for run in runs for pattern in _READ for path in run.glob(pattern)):
        with suppress(FileNotFoundError):  # renamed by the run just now
            status = path.stat()
            found[path] = status.st_mtime_ns, status.st_size
    return found
