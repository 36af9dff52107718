"""Evaluation results in the form that the page shows: one block for each set of studies."""

from collections.abc import Iterable, Sequence
from typing import Any

from editgrpo.display.html.runs import Row, Run
from editgrpo.display.numbers import MISSING, format_interval, format_score
from editgrpo.display.tables import (
    HIGHER,
    best_value,
    comparison_sources,
    provenance_line,
    seeds_line,
    shown_metric,
    verdict,
)
from editgrpo.evaluation.statement import interval_words, p_value_words, target_words


def evaluation_blocks(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Gather the scores of all runs by evaluation name.

    Args:
        runs: The runs of the report.

    Returns:
        For each evaluation: `name`, `runs` (indices), `rows` (metric and its cells), `notes` (one
        line of provenance a system), `intervals` (what these are over, in words), `comparisons`,
        and `chart` (numbers for the two plots).
    """
    names = dict.fromkeys(one.name for run in runs for one in run.evaluations)
    return [_block(name, runs) for name in names]


def _block(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    scored = {
        index: evaluation.scores
        for index, run in enumerate(runs)
        for evaluation in run.evaluations
        if evaluation.name == name
    }
    metrics = list(dict.fromkeys(m for scores in scored.values() for m in scores["metrics"]))
    return {
        "name": name,
        "runs": list(scored),
        "studies": ", ".join({str(s.get("n_studies", MISSING)): None for s in scored.values()}),
        "intervals": "; ".join(dict.fromkeys(map(_statement, scored.values()))),
        "rows": [_row(metric, scored.values()) for metric in metrics],
        "notes": [(runs[index].name, provenance_line([s])) for index, s in scored.items()],
        "comparisons": [
            _comparison(comparison)
            for comparison in _distinct(
                comparison for run in runs for one, comparison in run.comparisons if one == name
            )
        ],
        "chart": {
            "metrics": [metric for metric in metrics if _is_higher_better(metric, scored.values())],
            "findings": _findings(scored.values()),
            "values": {str(index): _chart_values(s) for index, s in scored.items()},
        },
    }


def _statement(scores: Row) -> str:
    return "; ".join(filter(None, (target_words(scores), interval_words(scores))))


def _is_higher_better(metric: str, scored: Iterable[Row]) -> bool:
    values = [scores["metrics"].get(metric) or {} for scores in scored]
    return any(value.get("direction") == HIGHER for value in values)


def _row(metric: str, scored: Iterable[Row]) -> dict[str, Any]:
    values = [scores["metrics"].get(metric) or {} for scores in scored]
    return {"metric": shown_metric(metric, values), "cells": _cells(values)}


def _cells(values: Sequence[Row]) -> list[dict[str, Any]]:
    best = best_value(values)
    return [
        {
            "value": format_score(value.get("value"), _digits(value)),
            "interval": format_interval(value.get("low"), value.get("high"), _digits(value)),
            "seeds": seeds_line(value.get("seed_values") or ()),
            "is_best": best is not None and value.get("value") == best,
        }
        for value in values
    ]


def _signed(difference: float) -> str:
    return f"{difference:+.3f}".replace("-", "−")


def _digits(value: Row) -> int:
    """Return three decimals for scores, one for larger numbers such as lengths."""
    return 1 if abs(value.get("value") or 0) > 10 else 3


def _findings(scored: Iterable[Row]) -> list[list[Any]]:
    """Return [finding, support, is it one of the rare ones] of every finding that occurs or was
    predicted, rarest first."""
    support: dict[str, int] = {}
    rare: set[str] = set()
    for scores in scored:
        rare.update(scores.get("rare_findings") or ())
        for finding, row in (scores.get("per_finding") or {}).items():
            if row.get("support") or row.get("predicted"):
                support[finding] = max(support.get(finding, 0), int(row.get("support") or 0))
    return [
        [name, support[name], name in rare]
        for name in sorted(support, key=lambda one: support[one])
    ]


def _chart_values(scores: Row) -> dict[str, Any]:
    per_finding = scores.get("per_finding") or {}
    return {
        "metrics": {
            name: [
                *(value.get(k) for k in ("value", "low", "high")),
                value.get("seed_values") or [],
            ]
            for name, value in scores["metrics"].items()
        },
        "findings": {
            name: [row.get("f1"), row.get("precision"), row.get("recall")]
            for name, row in per_finding.items()
        },
    }


def _comparison(comparison: Row) -> dict[str, Any]:
    rows = []
    for metric, row in comparison["metrics"].items():
        low, high, difference = row.get("low"), row.get("high"), row.get("difference")
        rows.append(
            {
                "metric": shown_metric(metric, [row]),
                "a": format_score(row.get("a")),
                "b": format_score(row.get("b")),
                "difference": MISSING if difference is None else _signed(difference),
                "seeds": seeds_line(row.get("seed_differences") or (), signed=True),
                "interval": format_interval(low, high),
                "p": format_score(row.get("p")),
                "verdict": verdict(row).value,
            }
        )
    return {
        "a": comparison.get("a", MISSING),
        "b": comparison.get("b", MISSING),
        "studies": comparison.get("n_studies", MISSING),
        "sources": comparison_sources(comparison),
        "intervals": interval_words(comparison),
        "p_values": p_value_words(comparison),
        "rows": rows,
    }


def _distinct(comparisons: Iterable[Row]) -> list[Row]:
    """Drop repetitions: a comparison may lie in the folders of both of its systems."""
    kept: list[Row] = []
    for comparison in comparisons:
        if comparison not in kept:
            kept.append(comparison)
    return kept
