"""Training curves in the form that the page draws: columns of numbers for each run."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from editgrpo.display.html.runs import Row, Run, RunKind
from editgrpo.display.numbers import format_number

_PHASES = ("vision", "rollout", "edit", "score", "reference", "update", "optimizer")


def run_curves(run: Run) -> dict[str, Any]:
    """Turn the rows of a run into columns.

    Args:
        run: The run.

    Returns:
        `train` (columns of the rows that have a step), `validation` (columns of the SFT rows that
        have validation values, over epochs) and `phases` (mean seconds a step by phase).
    """
    validation = [row for row in run.metrics if any(k.startswith("validation/") for k in row)]
    train = [row for row in run.metrics if "step" in row and row not in validation]
    return {
        "train": _columns(train),
        "validation": _columns(validation),
        "phases": _phases(run.timings),
    }


def reward_components(runs: Iterable[Run]) -> list[str]:
    """Return the names of the reward components that any run logged, in their order."""
    prefix = "reward/sampled/"
    keys = dict.fromkeys(key for run in runs for row in run.metrics[:1] for key in row)
    names = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
    return [name for name in names if name not in ("mean", "se")]


def summary_cards(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Summarise every run for the top of the page.

    Args:
        runs: The runs of the report.

    Returns:
        For each run its name, kind, how far it got, a trend (first and last value with a label) and
        the first metric of each evaluation.
    """
    return [_card(run) for run in runs]


def _card(run: Run) -> dict[str, Any]:
    steps = [row["step"] for row in run.metrics if isinstance(row.get("step"), int | float)]
    key, label = ("reward/sampled/mean", "sampled reward")
    if run.kind is RunKind.SFT:
        key, label = "loss", "training loss"
    values = [row[key] for row in run.metrics if isinstance(row.get(key), int | float)]
    return {
        "name": run.name,
        "kind": run.kind.value,
        "steps": f"{max(steps):,.0f} steps" if steps else "",
        "label": label,
        "trend": _trend(values),
        "spark": _spark(values),
        "scores": [_first_metric(one.name, one.scores) for one in run.evaluations],
        "notes": run.notes,
        "awaited": _awaited(run),
    }


def _awaited(run: Run) -> str:
    """Say what a run that has not begun will show first; empty for one that has."""
    if run.kind is not RunKind.AWAITED:
        return ""
    if run.config:
        return "Its settings are there. Waiting for its first step."
    return "Waiting for the run to begin in this folder."


def _trend(values: list[float]) -> tuple[str, str] | None:
    """Return the means of the first and of the last tenth, as text."""
    if not values:
        return None
    tenth = max(1, len(values) // 10)
    first, last = values[:tenth], values[-tenth:]
    return format_number(sum(first) / len(first)), format_number(sum(last) / len(last))


def _spark(values: list[float], width: int = 120, height: int = 28, points: int = 60) -> str:
    """Return the points of an SVG line: means of at most 60 bins, scaled to the box."""
    bins = min(points, len(values))
    if bins < 2:
        return ""
    edges = [round(i * len(values) / bins) for i in range(bins + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return " ".join(
        f"{i * width / (bins - 1):.1f},{height - 2 - (height - 4) * (v - low) / span:.1f}"
        for i, v in enumerate(means)
    )


def _first_metric(name: str, scores: Row) -> dict[str, Any]:
    metrics: dict[str, Row] = scores["metrics"]
    metric = next(iter(metrics), "")
    value = metrics[metric].get("value") if metrics else None
    return {"evaluation": name, "metric": metric, "value": format_number(value)}


def _columns(rows: list[Row]) -> dict[str, list[float | None]]:
    """Return one list for each key that holds numbers, all as long as there are rows."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {
        key: [_rounded(row.get(key)) for row in rows]
        for key in keys
        if any(isinstance(row.get(key), int | float) for row in rows)
    }


def _rounded(value: Any) -> float | None:
    # Five digits draw the same line as sixteen, at a third of the file size.
    return float(f"{value:.5g}") if isinstance(value, int | float) else None


def _phases(rows: list[Row]) -> dict[str, float]:
    means = {}
    for phase in _PHASES:
        values = [
            row[f"seconds/{phase}"] for row in rows if row.get(f"seconds/{phase}") is not None
        ]
        if values:
            means[phase] = sum(values) / len(values)
    return means
