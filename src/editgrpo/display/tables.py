"""Evaluation results as terminal tables: systems beside each other, every value with its interval.

The tables measure the width that they are given: where a value and its interval do not fit on one
line for every system, the interval goes below the value.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from editgrpo.display.numbers import MISSING, format_interval, format_score

Scores = Mapping[str, Any]

_ONE_LINE_CELL = len("0.000 [0.000, 0.000]") + 3


class ResultsTable:
    """Metrics as rows, systems as columns."""

    def __init__(self, scores: Sequence[Scores], *, title: str = "Results") -> None:
        """Prepare the table.

        Args:
            scores: Objects of the form of `scores.json`, one for each system.
            title: Stands above the table.
        """
        self._scores = scores
        self._title = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table at the width of the console."""
        names = list(dict.fromkeys(name for one in self._scores for name in one["metrics"]))
        name_width = max((len(name) for name in names), default=0) + 4
        needed = name_width + _ONE_LINE_CELL * len(self._scores)
        is_wide = needed <= options.max_width
        table = _table(self._title, caption=provenance_line(self._scores))
        table.add_column("metric", overflow="fold")
        for one in self._scores:
            table.add_column(str(one.get("system", MISSING)), justify="right")
        for name in names:
            values = [one["metrics"].get(name, {}) for one in self._scores]
            best = _best(values)
            table.add_row(name, *(_cell(value, best, is_wide=is_wide) for value in values))
        yield table


def findings_table(scores: Sequence[Scores], *, title: str = "F1 by finding") -> Table:
    """Tabulate F1 of each finding, the most frequent finding first.

    Args:
        scores: Objects of the form of `scores.json`, one for each system, over the same studies.
        title: Stands above the table.

    Returns:
        A table with one row for each finding.
    """
    table = _table(title, caption=provenance_line(scores))
    table.add_column("finding", overflow="fold")
    table.add_column("support", justify="right", style="dim")
    for one in scores:
        table.add_column(str(one.get("system", MISSING)), justify="right")
    support: dict[str, int] = {}
    for one in scores:
        for finding, row in one.get("per_finding", {}).items():
            support[finding] = max(support.get(finding, 0), int(row.get("support") or 0))
    for finding in sorted(support, key=lambda name: -support[name]):
        rows = [one.get("per_finding", {}).get(finding, {}) for one in scores]
        cells = (format_score(row.get("f1")) for row in rows)
        table.add_row(finding, str(support[finding]), *cells)
    return table


def comparison_table(comparison: Mapping[str, Any]) -> Table:
    """Tabulate a paired comparison of two systems.

    Args:
        comparison: An object of the form of `comparison.json`.

    Returns:
        A table with one row for each metric; a difference whose interval excludes 0 stands out.
    """
    table = _table(
        f"{comparison['a']} − {comparison['b']}",
        caption=f"{comparison['n_studies']} studies, paired; 95 % intervals over studies",
    )
    table.add_column("metric", overflow="fold")
    for heading in ("difference", "95 % interval", "p"):
        table.add_column(heading, justify="right")
    for name, row in comparison["metrics"].items():
        low, high = row.get("low"), row.get("high")
        is_clear = low is not None and high is not None and (low > 0 or high < 0)
        style = ("green" if row["difference"] > 0 else "red") if is_clear else "dim"
        difference = Text(f"{row['difference']:+.3f}", style=style)
        table.add_row(name, difference, format_interval(low, high), format_score(row.get("p")))
    return table


def provenance_line(scores: Sequence[Scores]) -> str:
    """State what every table of results must carry: studies, seed, interval, commit and command.

    Args:
        scores: Objects of the form of `scores.json`.

    Returns:
        One line; empty if there are no scores.
    """
    if not scores:
        return ""
    first = scores[0]
    parts = [f"n = {_distinct(scores, 'n_studies')} studies", f"seed {_distinct(scores, 'seed')}"]
    if (confidence := first.get("confidence")) is not None:
        samples = first.get("bootstrap_samples", MISSING)
        parts.append(f"{100 * confidence:.0f} % bootstrap intervals over studies ({samples})")
    if commit := first.get("commit"):
        parts.append(f"commit {str(commit)[:10]}")
    if command := first.get("command"):
        parts.append(str(command))
    return " · ".join(parts)


def _distinct(scores: Sequence[Scores], key: str) -> str:
    return ", ".join(dict.fromkeys(str(one.get(key, MISSING)) for one in scores))


def _table(title: str, *, caption: str) -> Table:
    # Titles and captions are wrapped in Text: a system's name may hold square brackets.
    return Table(
        title=Text(title, style="bold"),
        caption=Text(caption, style="dim"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        header_style="bold",
        pad_edge=False,
    )


def _cell(value: Mapping[str, float | None], best: float | None, *, is_wide: bool) -> Text:
    score, low, high = value.get("value"), value.get("low"), value.get("high")
    if score is None:
        return Text(MISSING, style="dim")
    cell = Text().append(format_score(score), style="bold green" if score == best else "")
    if low is not None and high is not None:
        # Two decimals and no spaces below the value, so that four systems fit on 80 columns.
        narrow = f"\n{format_score(low, 2)}–{format_score(high, 2)}"
        cell.append(f" {format_interval(low, high)}" if is_wide else narrow, style="dim")
    return cell


def _best(values: Sequence[Mapping[str, float | None]]) -> float | None:
    """Return the highest value, or None where all are alike and none deserves to stand out."""
    known = [value["value"] for value in values if value.get("value") is not None]
    highest = max((score for score in known if score is not None), default=None)
    return highest if len(set(known)) > 1 else None
