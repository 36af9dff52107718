"""Evaluation results as terminal tables: systems side by side, every value with its interval.

The tables measure the width that they are given: where a value and its interval do not fit on one
line for every system, the interval goes below the value. A metric's name stays on one line, so that
it can be searched for; only where nothing else helps is it broken.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from statistics import fmean
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from editgrpo.display.numbers import MISSING, format_interval, format_score
from editgrpo.evaluation.statement import interval_words, target_words

Scores = Mapping[str, Any]
HIGHER, LOWER = "higher", "lower"
"""Which values of a metric are better, as `scores.json` says; of any other, none are."""

# The hash of a model's weights, of which a table shows the beginning.
_HASH = re.compile(r"((?:sha256:)?[0-9a-f]{10})[0-9a-f]{54}")


class Verdict(StrEnum):
    """What a paired difference says of the first system."""

    BETTER = "better"
    WORSE = "worse"
    OTHER = "other"
    UNCLEAR = "unclear"


STYLES = {
    Verdict.BETTER: "green",
    Verdict.WORSE: "red",
    Verdict.OTHER: "",
    Verdict.UNCLEAR: "dim",
}

_ONE_LINE_CELL = len("0.000 [0.000, 0.000]") + 3
BETWEEN = 3
"""Signs between two columns of a table, and `EDGES` around all of them."""
EDGES = 2
TIGHT = 2
"""Signs between two columns of a tight table, which has no edges."""


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
        rows = {name: [one["metrics"].get(name, {}) for one in self._scores] for name in names}
        shown = [shown_metric(name, values) for name, values in rows.items()]
        name_width = max(map(len, shown), default=0)
        is_wide = name_width + 4 + _ONE_LINE_CELL * len(self._scores) <= options.max_width
        cells, columns = len("0.00–0.00") * len(self._scores), len(self._scores)
        is_tight = name_width + cells + BETWEEN * columns + EDGES > options.max_width
        is_kept = name_width + cells + TIGHT * columns <= options.max_width
        caption = provenance_line(self._scores)
        table = titled_table(self._title, caption=caption, is_tight=is_tight)
        table.add_column("metric", overflow="fold", no_wrap=is_kept)
        for one in self._scores:
            table.add_column(Text(str(one.get("system", MISSING))), justify="right")
        for name, values in zip(shown, rows.values(), strict=True):
            best = best_value(values)
            table.add_row(name, *(_cell(value, best, is_wide=is_wide) for value in values))
        yield table


def findings_table(
    scores: Sequence[Scores],
    *,
    title: str = "F1 by finding",
    kinds: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """Tabulate F1 of each finding, the most frequent finding first.

    Args:
        scores: Objects of the form of `scores.json`, one for each system, over the same studies.
        title: Stands above the table.
        kinds: Kinds of findings; each gets a row with the mean of its findings above theirs.
            Findings of none come last.

    Returns:
        A table with one row for each finding.
    """
    table = titled_table(title, caption=provenance_line(scores))
    table.add_column("finding", no_wrap=True)
    table.add_column("support", justify="right", style="dim")
    for one in scores:
        table.add_column(Text(str(one.get("system", MISSING))), justify="right")
    support: dict[str, int] = {}
    for one in scores:
        for finding, row in one.get("per_finding", {}).items():
            support[finding] = max(support.get(finding, 0), int(row.get("support") or 0))
    order = sorted(support, key=lambda name: -support[name])
    known = [finding for findings in (kinds or {}).values() for finding in findings]
    for kind, findings in (kinds or {}).items():
        means = (_mean_f1(one, findings) for one in scores)
        table.add_row(kind, "", *map(format_score, means), style="bold")
        _add_findings(table, [name for name in order if name in findings], scores, support)
        table.add_section()
    _add_findings(table, [name for name in order if name not in known], scores, support)
    return table


def _add_findings(
    table: Table, findings: Sequence[str], scores: Sequence[Scores], support: Mapping[str, int]
) -> None:
    for finding in findings:
        values = (_f1(one, finding) for one in scores)
        table.add_row(finding, str(support[finding]), *map(format_score, values))


def _f1(scores: Scores, finding: str) -> float | None:
    """Return the F1 of a finding; it is 0 by definition where the finding neither occurs nor is
    predicted, which is nothing to show."""
    row = scores.get("per_finding", {}).get(finding, {})
    occurs = row.get("support") or row.get("predicted")
    return row.get("f1") if occurs else None


def _mean_f1(scores: Scores, findings: Sequence[str]) -> float | None:
    values = [value for value in (_f1(scores, one) for one in findings) if value is not None]
    return fmean(values) if values else None


def comparison_sources(comparison: Mapping[str, Any]) -> list[str]:
    """Say which file of predictions is which system.

    Args:
        comparison: An object of `comparison.json`; one of an earlier version names no files.

    Returns:
        One clause for each system whose files are known.
    """
    files = comparison.get("predictions") or {}
    return [
        f"{comparison[side]}: {', '.join(files[side])}" for side in ("a", "b") if files.get(side)
    ]


def shown_metric(name: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """Mark the name of a metric of which less is better with an arrow.

    Args:
        name: The metric.
        rows: Its objects in `scores.json` or `comparison.json`, one for each system.

    Returns:
        The name as it stands in tables.
    """
    return f"{name} ↓" if any(row.get("direction") == LOWER for row in rows) else name


def verdict(row: Mapping[str, Any]) -> Verdict:
    """Say whether the first of two systems is better by a metric.

    Args:
        row: An object of `comparison.json`.

    Returns:
        UNCLEAR if the interval holds 0 or is missing; OTHER if neither direction is better.
    """
    low, high = row.get("low"), row.get("high")
    if low is None or high is None or low <= 0 <= high:
        return Verdict.UNCLEAR
    if row.get("direction") not in (HIGHER, LOWER):
        return Verdict.OTHER
    return Verdict.BETTER if (low > 0) == (row["direction"] == HIGHER) else Verdict.WORSE


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
    parts = [*filter(None, [target_words(first)]), f"n = {_distinct(scores, 'n_studies')} studies"]
    if any(one.get("n_seeds", 1) > 1 for one in scores):
        parts.append(f"mean of {_distinct(scores, 'n_seeds')} training seeds")
    parts.append(f"seed {_distinct(scores, 'seed')}")
    if first.get("confidence") is not None:
        words = "; ".join(dict.fromkeys(map(interval_words, scores)))
        parts.append(f"{words}, bootstrap ({first.get('bootstrap_samples', MISSING)})")
    parts += software(first)
    if command := first.get("command"):
        parts.append(str(command))
    return " · ".join(parts)


def software(record: Mapping[str, Any]) -> list[str]:
    """State what computed the numbers: version, commit, and the weights of each model.

    Args:
        record: An object of the form of `scores.json` or `comparison.json`.

    Returns:
        One clause each.
    """
    parts = []
    if version := record.get("editgrpo"):
        parts.append(f"editgrpo {version}")
    if commit := record.get("commit"):
        parts.append(f"commit {short_commit(str(commit))}")
    for name, identity in record.get("scored_with", {}).items():
        is_hash = _HASH.fullmatch(identity)
        parts.append(f"{name} {identity[: is_hash.end(1)] if is_hash else identity}")
    return parts


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


def titled_table(title: str, *, caption: str, is_tight: bool = False) -> Table:
    """Return an empty table in the style that all of ours have; a tight one spares its spaces."""
    # Titles and captions are wrapped in Text: a system's name may hold square brackets.
    return Table(
        title=Text(title, style="bold"),
        caption=Text(caption, style="dim"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        header_style="bold",
        pad_edge=False,
        show_edge=not is_tight,
        collapse_padding=is_tight,
    )


def seeds_line(values: Sequence[float], *, signed: bool = False) -> str:
    """Write the values of single training seeds, in the order of the runs.

    Args:
        values: One a seed.
        signed: Whether a plus sign stands before positive ones, as differences have it.

    Returns:
        Such as `seeds 0.512 0.498 0.530`; empty if there is a single one.

    Examples:
        >>> seeds_line([0.5, 0.25]), seeds_line([0.5, -0.25], signed=True), seeds_line([0.5])
        ('seeds 0.500 0.250', 'seeds +0.500 -0.250', '')
    """
    shown = (f"{value:{'+' if signed else ''}.3f}" for value in values)
    return " ".join(["seeds", *shown]) if len(values) > 1 else ""


def _cell(value: Mapping[str, Any], best: float | None, *, is_wide: bool) -> Text:
    score, low, high = value.get("value"), value.get("low"), value.get("high")
    if score is None:
        return Text(MISSING, style="dim")
    cell = Text().append(format_score(score), style="bold green" if score == best else "")
    if low is not None and high is not None:
        # Two decimals and no spaces below the value, so that four systems fit on 80 columns.
        narrow = f"\n{format_score(low, 2)}–{format_score(high, 2)}"
        cell.append(f" {format_interval(low, high)}" if is_wide else narrow, style="dim")
    if seeds := seeds_line(value.get("seed_values", ())):
        cell.append(f"\n{seeds}", style="dim")
    return cell


def best_value(values: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the value of a metric that deserves to stand out among systems.

    Args:
        values: Objects of `scores.json`, one for each system; empty for a system without it.

    Returns:
        The best value by the metric's direction; None if all are alike, or none is better.
    """
    known = [value["value"] for value in values if isinstance(value.get("value"), int | float)]
    directions = {value.get("direction") for value in values if value}
    if len(set(known)) < 2 or directions not in ({HIGHER}, {LOWER}):
        return None
    return float(max(known) if directions == {HIGHER} else min(known))
