"""Evaluations as plain data: the objects of `scores.json` and `comparison.json`, and table rows.

Every object carries what a table of results must state: studies, seeds, interval, commit and
command. How it looks is the business of `display`.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from editgrpo.evaluation.evaluate import Evaluation
from editgrpo.evaluation.text_metrics import EMPTY, REPEATED_NGRAMS, REPEATED_SENTENCES
from editgrpo.evaluation.types import Comparison
from editgrpo.provenance import command_line, git_state

LOWER_IS_BETTER = frozenset({REPEATED_NGRAMS, REPEATED_SENTENCES, EMPTY})
"""Metrics of which less is better; of `text/words` neither is."""


def source_commit() -> str | None:
    """Return the commit that the code runs from, ending in `-dirty` if the checkout differs from
    it; None outside a checkout."""
    state = git_state()
    if state is None:
        return None
    return f"{state.commit}-dirty" if state.dirty else state.commit


def scores_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return the object of `scores.json`.

    Args:
        evaluation: One system; several seeds add `seed_values` to each metric.

    Returns:
        JSON-ready values at full precision, `predictions` a list if several files were pooled.
    """
    options = evaluation.options
    sources = evaluation.predictions
    seeds = len(evaluation.runs)
    metrics: dict[str, dict[str, Any]] = {}
    for name, estimate in evaluation.metrics.items():
        metrics[name] = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
        if seeds > 1:
            metrics[name]["seed_values"] = list(estimate.seed_values)
    return {
        "system": evaluation.system,
        "predictions": sources[0] if len(sources) == 1 else list(sources),
        "n_studies": evaluation.n_studies,
        "n_seeds": seeds,
        "reward": options.reward,
        "seed": options.seed,
        "bootstrap_samples": options.samples,
        "confidence": options.confidence,
        "metrics": metrics,
        "rare_findings": list(evaluation.rare_findings),
        "per_finding": {name: asdict(row) for name, row in evaluation.per_finding.items()},
        "command": command_line(),
        "commit": source_commit(),
    }


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Return the object of `comparison.json`: the differences a - b of every metric."""
    return {
        "a": comparison.a,
        "b": comparison.b,
        "n_studies": comparison.n_studies,
        "n_seeds": {"a": comparison.seeds_a, "b": comparison.seeds_b},
        "reward": comparison.options.reward,
        "seed": comparison.options.seed,
        "bootstrap_samples": comparison.options.samples,
        "confidence": comparison.options.confidence,
        "metrics": {name: asdict(row) for name, row in comparison.metrics.items()},
        "command": command_line(),
        "commit": source_commit(),
    }


def metric_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row for each metric of an object of `scores.json`, as `scores.csv` holds
    them."""
    shared = ("n_studies", "n_seeds", "confidence", "bootstrap_samples", "seed", "commit")
    return [
        {
            "system": record["system"],
            "metric": name,
            "value": metric["value"],
            "low": metric["low"],
            "high": metric["high"],
            **{key: record[key] for key in shared},
            "command": record["command"],
        }
        for name, metric in record["metrics"].items()
    ]


def study_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the rows of `per_study.jsonl`, sorted by study id; with several seeds, their means."""
    names = evaluation.runs[0].scalars
    values_SN = [
        np.mean([run.scalar(name) for run in evaluation.runs], axis=0).tolist() for name in names
    ]
    return [
        {"study_id": study_id, **dict(zip(names, values, strict=True))}
        for study_id, *values in zip(evaluation.references, *values_SN, strict=True)
    ]
