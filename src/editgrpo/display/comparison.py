"""A paired comparison of two systems as a terminal table."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from editgrpo.display.numbers import format_interval, format_score
from editgrpo.display.tables import (
    BETWEEN,
    EDGES,
    STYLES,
    TIGHT,
    comparison_sources,
    seeds_line,
    shown_metric,
    software,
    titled_table,
    verdict,
)
from editgrpo.evaluation.statement import interval_words, p_value_words, percent

# Tried in this order: whether spaces are spared, whether the interval stands below the difference.
_LAYOUTS = ((False, False), (True, False), (True, True))


class ComparisonTable:
    """Metrics as rows: both systems' values, the first less the second, its interval and p.

    A difference whose interval excludes 0 stands out.
    """

    def __init__(self, comparison: Mapping[str, Any]) -> None:
        """Prepare the table.

        Args:
            comparison: An object of the form of `comparison.json`.
        """
        self._comparison = comparison
        self._rows = list(comparison["metrics"].values())
        self._names = [shown_metric(name, [row]) for name, row in comparison["metrics"].items()]
        self._interval = f"{percent(comparison.get('confidence', 0.95))} interval"
        self._intervals = [format_interval(row.get("low"), row.get("high")) for row in self._rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table at the width of the console."""
        spare = {layout: options.max_width - self._needed(*layout) for layout in _LAYOUTS}
        is_tight, is_below = layout = next(
            (one for one in _LAYOUTS if spare[one] >= 0), _LAYOUTS[-1]
        )
        # Only where nothing helps are names and values broken.
        has_room = spare[layout] >= 0
        a, b = str(self._comparison["a"]), str(self._comparison["b"])
        # Wrapped in Text: a system's name may hold square brackets.
        headings = [a, b, f"{a} − {b}" + (f", {self._interval}" if is_below else "")]
        table = titled_table(f"{a} − {b}, paired", caption=self._caption(), is_tight=is_tight)
        table.add_column("metric", overflow="fold", no_wrap=has_room)
        for heading, least in zip(headings, self._value_widths(is_below=is_below), strict=True):
            width = max(least, min(self._widest(heading), least + spare[layout] // len(headings)))
            shown = width if has_room else None
            table.add_column(Text(heading), justify="right", overflow="fold", width=shown)
        if not is_below:
            table.add_column(self._interval, justify="right", no_wrap=True)
        table.add_column("p", justify="right", no_wrap=True)
        for name, row, ends in zip(self._names, self._rows, self._intervals, strict=True):
            values = [format_score(row.get("a")), format_score(row.get("b"))]
            cells = [_difference(row, f"\n{ends}")] if is_below else [_difference(row), ends]
            table.add_row(name, *values, *cells, format_score(row.get("p")))
        yield table

    def _needed(self, is_tight: bool, is_below: bool) -> int:
        """Return the width with which no name and no number is broken."""
        p = _longest(format_score(row.get("p")) for row in self._rows)
        texts = [_longest(self._names), *self._value_widths(is_below=is_below), max(p, 1)]
        if not is_below:
            texts.append(_longest([*self._intervals, self._interval]))
        gaps = len(texts) - 1
        return sum(texts) + (TIGHT * gaps if is_tight else BETWEEN * gaps + EDGES)

    def _value_widths(self, *, is_below: bool) -> list[int]:
        difference = _longest(f"{row['difference']:+.3f}" for row in self._rows)
        return [
            *(_longest(format_score(row.get(side)) for row in self._rows) for side in ("a", "b")),
            max(difference, _longest(self._intervals)) if is_below else difference,
        ]

    def _widest(self, heading: str) -> int:
        seeds = (seeds_line(row.get("seed_differences", ()), signed=True) for row in self._rows)
        return max(len(heading), _longest(seeds))

    def _caption(self) -> str:
        return " · ".join(
            [
                *comparison_sources(self._comparison),
                interval_words(self._comparison),
                p_value_words(self._comparison),
                *software(self._comparison),
            ]
        )


def _longest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)


def _difference(row: Mapping[str, Any], interval: str = "") -> Text:
    cell = Text(f"{row['difference']:+.3f}{interval}", style=STYLES[verdict(row)])
    if seeds := seeds_line(row.get("seed_differences", ()), signed=True):
        cell.append(f"\n{seeds}", style="dim")
    return cell
