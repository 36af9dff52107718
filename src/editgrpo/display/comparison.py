"""A paired comparison of two systems as a terminal table."""

from collections.abc import Iterable, Mapping, Sequence
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
        a, b = str(self._comparison["a"]), str(self._comparison["b"])
        # Rather less space between columns than a system's name in two lines, and rather this than
        # an interval below its difference.
        whole = [one for one in _LAYOUTS[:2] if spare[one] >= self._for_names(a, b)]
        fitting = whole or [one for one in _LAYOUTS if spare[one] >= 0]
        is_tight, is_below = layout = (fitting or _LAYOUTS[-1:])[0]
        # Only where nothing helps are names and values broken.
        has_room = spare[layout] >= 0
        # Wrapped in Text: a system's name may hold square brackets.
        least = self._value_widths(is_below=is_below)
        interval = f", {self._interval}" if is_below else ""
        headings = [a, b, f"{a} − {b}{interval}"]
        if sum(self._extra(headings, least)) > spare[layout]:
            headings[2] = f"a − b{interval}"  # the title has the names
        table = titled_table(f"{a} − {b}, paired", caption=self._caption(), is_tight=is_tight)
        table.add_column("metric", overflow="fold", no_wrap=has_room)
        left, wanted = max(0, spare[layout]), self._extra(headings, least)
        for k, extra in enumerate(wanted):
            # All of it where all have it; else the columns share, the first ones first.
            given = extra if sum(wanted[k:]) <= left else min(extra, left // (len(headings) - k))
            left -= given
            shown = least[k] + given if has_room else None
            table.add_column(Text(headings[k]), justify="right", overflow="fold", width=shown)
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

    def _for_names(self, a: str, b: str) -> int:
        return sum(self._extra([a, b, "a − b"], self._value_widths(is_below=False)))

    def _extra(self, headings: Sequence[str], least: Sequence[int]) -> list[int]:
        """Return the width that each column would like beyond what its values need."""
        rows = (seeds_line(row.get("seed_differences", ()), signed=True) for row in self._rows)
        seeds = _longest(rows)
        return [
            max(0, max(len(heading), seeds) - width)
            for heading, width in zip(headings, least, strict=True)
        ]

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
