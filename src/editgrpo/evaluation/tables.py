"""Evaluations as plain data: the objects of `scores.json` and `comparison.json`, and table rows.

Every object carries what a table of results must state: studies, seeds, interval, commit and
command. How it looks is the business of `display`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import editgrpo
from editgrpo.config import Target
from editgrpo.evaluation.evaluate import Evaluation
from editgrpo.evaluation.own_test_sets import SeedsOfOwnSets
from editgrpo.evaluation.statement import interval_words, p_value_words
from editgrpo.evaluation.types import Comparison, Difference, Estimate, EvaluationOptions
from editgrpo.metrics.metric import Level
from editgrpo.provenance import command_line, git_state


def source_commit() -> str | None:
    """Return the commit that the code runs from, ending in `-dirty` if the checkout differs from
    it; None outside a checkout."""
    state = git_state()
    if state is None:
        return None
    return f"{state.commit}-dirty" if state.dirty else state.commit


def scores_record(evaluation: Evaluation | SeedsOfOwnSets) -> dict[str, Any]:
    """Return the object of `scores.json`.

    Args:
        evaluation: One system; several seeds add `seed_values`, `runs_low` and `runs_high` to each
            metric.

    Returns:
        JSON-ready values at full precision, `predictions` a list if several files were pooled.
    """
    sources = evaluation.predictions
    seeds = len(evaluation.runs)
    metrics: dict[str, dict[str, Any]] = {}
    for metric in evaluation.metric_definitions:
        estimate = evaluation.metrics[metric.name]
        metrics[metric.name] = {
            "value": estimate.value,
            **_ends(estimate, several=seeds > 1),
            "direction": metric.direction.value,
        }
        if seeds > 1:
            metrics[metric.name]["seed_values"] = list(estimate.seed_values)
    return _stated(
        {
            "system": evaluation.system,
            "predictions": sources[0] if len(sources) == 1 else list(sources),
            "n_studies": evaluation.n_studies,
            "n_patients": evaluation.n_patients,
            **_test_sets(evaluation.n_test_sets),
            "n_seeds": seeds,
            **_options_record(evaluation.options),
            "metrics": metrics,
            "labeler": evaluation.labeler,
            "rare_findings": list(evaluation.rare_findings),
            "per_finding": {name: asdict(row) for name, row in evaluation.per_finding.items()},
            **_provenance(evaluation.scored_with),
        }
    )


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Return the object of `comparison.json`: the differences a - b of every metric."""
    several = min(comparison.seeds_a, comparison.seeds_b) > 1
    return _stated(
        {
            "a": comparison.a,
            "b": comparison.b,
            "difference": f"{comparison.a} - {comparison.b}",
            "predictions": {
                "a": list(comparison.predictions_a),
                "b": list(comparison.predictions_b),
            },
            "n_studies": comparison.n_studies,
            "n_patients": comparison.n_patients,
            **_test_sets(comparison.n_test_sets),
            "n_seeds": {"a": comparison.seeds_a, "b": comparison.seeds_b},
            **_options_record(comparison.options),
            "metrics": {
                name: _difference(row, several=several) | {"direction": comparison.directions[name]}
                for name, row in comparison.metrics.items()
            },
            **_provenance(comparison.scored_with),
        }
    )


def _difference(row: Difference, *, several: bool) -> dict[str, Any]:
    record: dict[str, Any] = {
        "a": row.a,
        "b": row.b,
        "difference": row.difference,
        **_ends(row, several=several),
        "p": row.p,
    }
    if len(row.seed_differences) > 1:
        record["seed_differences"] = list(row.seed_differences)
    return record


def _test_sets(number: int) -> dict[str, int]:
    return {"n_test_sets": number} if number > 1 else {}


def _ends(row: Estimate | Difference, *, several: bool) -> dict[str, float | None]:
    """Return the ends of the interval, and of the one for these runs where it is another."""
    ends = {"low": row.low, "high": row.high}
    return ends | ({"runs_low": row.runs_low, "runs_high": row.runs_high} if several else {})


def _stated(record: dict[str, Any]) -> dict[str, Any]:
    """Put into words, after what was counted, what the intervals are over."""
    stated: dict[str, Any] = {}
    for key, value in record.items():
        stated[key] = value
        if key == "confidence":
            stated["intervals"] = interval_words(record)
            if "a" in record:
                stated["p_values"] = p_value_words(record)
    return stated


def _options_record(options: EvaluationOptions) -> dict[str, Any]:
    return {
        "asked_metrics": list(options.metrics),
        "seed": options.seed,
        "bootstrap_samples": options.samples,
        "confidence": options.confidence,
        **_target_record(options),
    }


def _target_record(options: EvaluationOptions) -> dict[str, str]:
    """Say what was scored, where it is not the findings."""
    if options.target is Target.FINDINGS:
        return {}
    section = {} if options.section is None else {"section": options.section.value}
    return {"target": options.target.value, **section}


def _provenance(scored_with: Mapping[str, str]) -> dict[str, Any]:
    return {
        "scored_with": dict(scored_with),
        "editgrpo": editgrpo.__version__,
        "command": command_line(),
        "commit": source_commit(),
    }


def metric_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row for each metric of an object of `scores.json`, as `scores.csv` holds
    them."""
    shared = (
        "n_studies",
        "n_patients",
        "n_seeds",
        "confidence",
        "intervals",
        "bootstrap_samples",
        "seed",
        "editgrpo",
        "commit",
    )
    return [
        {
            "system": record["system"],
            "metric": name,
            "value": metric["value"],
            "low": metric["low"],
            "high": metric["high"],
            "direction": metric["direction"],
            **{key: record[key] for key in shared},
            "scored_with": " ".join(f"{k}={v}" for k, v in record["scored_with"].items()),
            "command": record["command"],
        }
        for name, metric in record["metrics"].items()
    ]


def study_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the rows of `per_study.jsonl`, sorted by study id; with several seeds, their means.

    Args:
        evaluation: One system.

    Returns:
        `study_id`, `patient_id` where it is known, then those metrics that a single report has.
    """
    means_NS = evaluation.means(evaluation.stacked())
    columns: dict[str, list[Any]] = {
        metric.name: metric.formula(means_NS).mean(axis=1).tolist()
        for metric in evaluation.metric_definitions
        if metric.level is Level.REPORT
    }
    if evaluation.patients is not None:
        columns = {"patient_id": list(evaluation.patients), **columns}
    return [
        {"study_id": study_id, **{name: values[k] for name, values in columns.items()}}
        for k, study_id in enumerate(evaluation.references)
    ]
