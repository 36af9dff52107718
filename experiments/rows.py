"""What is kept of a test set: for each study the findings that a report names, and its scores.

Every metric and every interval of the tables follows from these rows, so results can be committed
without texts and compared again. A row is 14 labels as 4 hexadecimal digits, and as many for each
score, in ten-thousandths.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.config import ClinicalConfig
from editgrpo.errors import DataError
from editgrpo.evaluation.evaluate import Evaluation, evaluate_statistics, pool_seeds
from editgrpo.evaluation.rows import StudyRows
from editgrpo.evaluation.scoring_plan import ScoringPlan, load_plan
from editgrpo.evaluation.statistics import StudyStatistics
from editgrpo.evaluation.types import EvaluationOptions, Prediction
from editgrpo.metrics.check import checked_read, read_labels, score_pairs
from editgrpo.metrics.label_metrics import safe_ratio, study_counts
from editgrpo.metrics.metric import Formula, Means, Metric, Source, SourceKind
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.rewards import load_component, load_metric_labeler

LABELER = "rules"
AVERAGE = "average/clinical@rules"
SHOWN = {
    AVERAGE: "average",
    "rules/micro-f1-14": "micro-F1-14",
    "rules/macro-f1-14": "macro-F1-14",
    "rules/macro-f1-rare": "macro-F1, rare",
    "reward/total@rules": "reward",
}
"""The metrics of the tables, with their headings."""

_SCALE = 10_000
_DIGITS = 4


def pack(values_N: NDArray[Any]) -> str:
    """Write whole numbers from 0 to 65,535 as 4 hexadecimal digits each."""
    return "".join(f"{int(value):04x}" for value in values_N)


def unpack(text: str) -> NDArray[np.int64]:
    """Read what `pack` wrote."""
    parts = [text[start : start + _DIGITS] for start in range(0, len(text), _DIGITS)]
    return np.array([int(part, 16) for part in parts], dtype=np.int64)


def pack_labels(labels_NF: NDArray[np.uint8]) -> str:
    """Write (N, 14) labels of 0 and 1; the first finding is the highest of 14 bits."""
    weights_F = 1 << np.arange(len(FINDINGS))[::-1]
    return pack(labels_NF.astype(np.int64) @ weights_F)


def unpack_labels(text: str) -> NDArray[np.uint8]:
    """Read what `pack_labels` wrote."""
    shifts_F = np.arange(len(FINDINGS))[::-1]
    return ((unpack(text)[:, None] >> shifts_F) & 1).astype(np.uint8)


@cache
def scoring_plan() -> ScoringPlan:
    """Return what the tables' metrics need, and the metrics of single findings beside them."""
    plan = load_plan(EvaluationOptions(metrics=tuple(SHOWN)), ClinicalConfig())
    return replace(plan, metrics=(*plan.metrics, *_finding_metrics()))


def _finding_metrics() -> tuple[Metric, ...]:
    def metric(name: str, formula: Formula) -> Metric:
        sources = (Source(SourceKind.LABELS, LABELER),)
        return Metric(name=name, description=name, formula=formula, sources=sources)

    return tuple(
        metric(f"{score}/{finding}", _of_finding(score, k))
        for score in ("f1", "recall")
        for k, finding in enumerate(FINDINGS)
    )


def _of_finding(score: str, k: int) -> Formula:
    def formula(means: Means) -> NDArray[np.float64]:
        hit, false, missed = np.moveaxis(means.counts(LABELER)[..., k], -1, 0)
        if score == "recall":
            return safe_ratio(hit, hit + missed)
        return safe_ratio(2 * hit, 2 * hit + false + missed)

    return formula


def with_kinds(evaluation: Evaluation, kinds: Mapping[str, Sequence[str]]) -> Evaluation:
    """Add the mean F1 and the mean recall of kinds of findings to an evaluation's metrics.

    Args:
        evaluation: Of one or several seeds.
        kinds: Kind to its findings; one without any is left out.

    Returns:
        The evaluation with `f1/KIND` and `recall/KIND`, estimated anew.
    """
    plan = scoring_plan()
    added = []
    for kind, findings in kinds.items():
        for score in ("f1", "recall"):
            parts = [_of_finding(score, FINDINGS.index(finding)) for finding in findings]
            if parts:
                formula = _mean(parts)
                added.append(replace(plan.metrics[-1], name=f"{score}/{kind}", formula=formula))
    wider = replace(plan, metrics=(*plan.metrics, *added))
    runs = tuple(replace(run, plan=wider) for run in evaluation.runs)
    return pool_seeds([replace(evaluation, runs=runs)], system=evaluation.system)


def _mean(parts: Sequence[Formula]) -> Formula:
    return lambda means: np.asarray(np.mean([part(means) for part in parts], axis=0))


def component_names() -> tuple[str, ...]:
    """Return the scores that are kept of every study."""
    sources = scoring_plan().scorers
    return tuple(one.name for one in sources if one.kind is SourceKind.COMPONENT)


def scored_rows(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Score predictions and keep a row of each study.

    Args:
        predictions: N studies, in the order of their ids.

    Returns:
        `test_set` (the digest of the references), `labels` and `scores`.
    """
    texts = [one.prediction for one in predictions]
    references = [one.reference for one in predictions]
    scores = {}
    for name in component_names():
        component = load_component(name)
        facts = checked_read(component)([*texts, *references])
        values_N = score_pairs(component, facts[: len(texts)], facts[len(texts) :])
        scores[name] = pack(np.rint(values_N * _SCALE))
    return {
        "test_set": reference_rows(predictions)["digest"],
        "labels": pack_labels(_labels(texts)),
        "scores": scores,
    }


def _labels(texts: Sequence[str]) -> NDArray[np.uint8]:
    return read_labels(load_metric_labeler(LABELER), texts)


def reference_rows(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Describe the test set that predictions are of.

    Args:
        predictions: N studies, in the order of their ids, each with its patient.

    Returns:
        Number of studies, digest of ids and references, the patient of each study as a number, and
        the labels of the references.
    """
    numbers: dict[str, int] = {}
    patients = [numbers.setdefault(str(one.patient_id), len(numbers)) for one in predictions]
    facts = [[one.study_id, one.patient_id, one.reference] for one in predictions]
    return {
        "digest": hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
        "studies": len(predictions),
        "patients": pack(np.array(patients)),
        "labels": pack_labels(_labels([one.reference for one in predictions])),
    }


def evaluation_of(
    rows: Sequence[Mapping[str, Any]],
    references: Mapping[str, Any],
    *,
    system: str,
    rare_findings: Sequence[str],
) -> Evaluation:
    """Evaluate an arm from the rows of its seeds.

    Args:
        rows: From `scored_rows`, one for each seed.
        references: From `reference_rows`, the test set of all of them.
        system: Name of the arm.
        rare_findings: The findings of the "rare" metrics.

    Returns:
        The evaluation, with intervals over seeds and patients.

    Raises:
        DataError: rows are of another test set.
    """
    for one in rows:
        if one["test_set"] != references["digest"]:
            raise DataError(
                f"{system}: scored on another test set than test-sets.json states; delete the "
                "results of one of the two and run it again"
            )
    plan = scoring_plan()
    truth_NF = unpack_labels(references["labels"])
    count = references["studies"]
    known = StudyRows(
        system=system,
        references={f"{k:06d}": f"{references['digest']}/{k}" for k in range(count)},
        patients=tuple(f"{patient:06d}" for patient in unpack(references["patients"])),
    )
    runs = [StudyStatistics(values_NK=_values(one, truth_NF, plan), plan=plan) for one in rows]
    options = EvaluationOptions(metrics=tuple(SHOWN), rare_findings=tuple(rare_findings))
    return evaluate_statistics(known, runs, options=options)


def _values(
    row: Mapping[str, Any], truth_NF: NDArray[np.uint8], plan: ScoringPlan
) -> NDArray[np.float64]:
    """Return the (N, K) numbers of a seed, in the plan's columns."""
    parts = []
    for source in plan.scorers:
        if source.kind is SourceKind.COMPONENT:
            parts.append(unpack(row["scores"][source.name])[:, None] / _SCALE)
        else:
            counts = study_counts(unpack_labels(row["labels"]), truth_NF)
            parts.append(counts.reshape(len(counts), -1))
    return np.concatenate(parts, axis=1)
