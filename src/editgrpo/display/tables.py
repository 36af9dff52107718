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

# No system is better for writing more, for repeating itself or for writing nothing.
_UNRANKED = ("length", "tokens", "words", "repetition", "repeated", "empty")

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
            best = _best(values) if is_ranked(name) else None
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
        # F1 is 0 by definition where a finding neither occurs nor is predicted: nothing to show.
        cells = (format_score(row.get("f1") if _occurs(row) else None) for row in rows)
        table.add_row(finding, str(support[finding]), *cells)
    return table


def comparison_table(comparison: Mapping[str, Any]) -> Table:
    """Tabulate a paired comparison of two systems.

    Args:
        comparison: An object of the form of `comparison.json`.

    Returns:
        A table with one row for each metric; a difference whose interval excludes 0 stands out.
    """
    percent = 100 * comparison.get("confidence", 0.95)
    table = _table(
        f"{comparison['a']} − {comparison['b']}",
        caption=f"n = {comparison['n_studies']} studies, paired; {percent:.0f} % intervals",
    )
    table.add_column("metric", overflow="fold")
    for heading in ("difference", f"{percent:.0f} % interval", "p"):
        table.add_column(heading, justify="right")
    for name, row in comparison["metrics"].items():
        low, high = row.get("low"), row.get("high")
        is_clear = low is not None and high is not None and (low > 0 or high < 0)
        style = ("green" if row["difference"] > 0 else "red") if is_clear else "dim"
        difference = Text(f"{row['difference']:+.3f}", style=style)
        table.add_row(name, difference, format_interval(low, high), format_score(row.get("p")))
    return table


def _occurs(row: Mapping[str, Any]) -> bool:
    return bool(row.get("support") or row.get("predicted"))


def is_ranked(metric: str) -> bool:
    """Tell whether a higher value of a metric is better, so that the best may stand out."""
    return not any(word in metric.lower() for word in _UNRANKED)


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
    parts = [f"n = {_distinct(scores, 'n_studies')} studies"]
    if any(one.get("n_seeds", 1) > 1 for one in scores):
        parts.append(f"mean of {_distinct(scores, 'n_seeds')} training seeds")
    parts.append(f"seed {_distinct(scores, 'seed')}")
    if (confidence := first.get("confidence")) is not None:
        samples = first.get("bootstrap_samples", MISSING)
        parts.append(f"{100 * confidence:.0f} % bootstrap intervals over studies ({samples})")
    if commit := first.get("commit"):
        parts.append(f"commit {short_commit(str(commit))}")
    if command := first.get("command"):
        parts.append(str(command))
    return " · ".join(parts)


def short_commit(commit: str) -> str:
    """Shorten a commit, keeping the mark of a checkout that differs from it.

    Args:
        commit: A hash, with or without `-dirty` behind it.

    Returns:
        Its first ten letters and the mark.

    Examples:
        >>> short_commit("0123456789abcdef-dirty")
        '0123456789-dirty'
    """
    digest, mark, _ = commit.partition("-dirty")
    return digest[:10] + mark


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
