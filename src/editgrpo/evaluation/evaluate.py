"""Evaluating one system: metrics over a test set with bootstrap intervals over its studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from editgrpo.errors import DataError
from editgrpo.evaluation.bootstrap import percentile_interval, resampled_means
from editgrpo.evaluation.label_metrics import finding_f1, safe_ratio
from editgrpo.evaluation.statistics import (
    Metric,
    StudyStatistics,
    define_metrics,
    label_counts,
    study_statistics,
)
from editgrpo.evaluation.types import (
    Estimate,
    EvaluationOptions,
    FindingScore,
    Prediction,
    ProgressCallback,
)
from editgrpo.reports.chexpert import FINDINGS, NO_FINDING_INDEX
from editgrpo.reports.types import Labeler
from editgrpo.rewards.types import Reward


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """One system on one test set.

    Attributes:
        system: Its name in tables.
        predictions: Where the predictions came from, one name a seed; empty if not from files.
        references: Study id to reference report, sorted by study id; the order of all rows.
        runs: Statistics of each seed's predictions, at least one.
        rare_findings: The findings of the "rare" metrics.
        metrics: Metric name to estimate.
        per_finding: Finding to its scores, in CheXpert's order.
        options: What was asked for.
    """

    system: str
    predictions: tuple[str, ...]
    references: Mapping[str, str] = field(repr=False)
    runs: tuple[StudyStatistics, ...] = field(repr=False)
    rare_findings: tuple[str, ...]
    metrics: Mapping[str, Estimate]
    per_finding: Mapping[str, FindingScore]
    options: EvaluationOptions

    @property
    def n_studies(self) -> int:
        """How many studies were scored."""
        return len(self.references)

    def stacked(self) -> NDArray[np.float64]:
        """Return the (N, S, K) statistics of all seeds."""
        return np.stack([run.values_NK for run in self.runs], axis=1)

    @property
    def metric_definitions(self) -> tuple[Metric, ...]:
        """The metrics, as functions of means over studies."""
        return define_metrics(self.runs[0], rare_findings=self.rare_findings)


def evaluate_predictions(
    predictions: Sequence[Prediction],
    *,
    system: str,
    reward: Reward,
    labeler: Labeler,
    options: EvaluationOptions | None = None,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Score predictions and estimate every metric.

    Args:
        predictions: At least one study; the order does not matter.
        system: Name in tables.
        reward: Scores each report.
        labeler: Finds the 14 findings for corpus F1.
        options: Bootstrap and rare findings; None takes the defaults.
        progress: Called with studies scored and all studies.

    Returns:
        The evaluation, its rows sorted by study id.

    Raises:
        DataError: there are no predictions, or a study stands twice.
        RewardError: a component is NaN or infinite.
    """
    ordered = sorted(predictions, key=lambda one: one.study_id)
    references = {one.study_id: one.reference for one in ordered}
    if not ordered:
        raise DataError(f"{system}: no predictions to evaluate; give at least one study")
    if len(references) < len(ordered):
        raise DataError(f"{system}: a study stands twice; keep one prediction for each study")
    statistics = study_statistics(ordered, reward=reward, labeler=labeler, progress=progress)
    return _summarise(system, (), references, (statistics,), options or EvaluationOptions())


def pool_seeds(evaluations: Sequence[Evaluation], *, system: str) -> Evaluation:
    """Combine runs of one system that differ in their training or sampling seed.

    Args:
        evaluations: At least one, over the same studies and references.
        system: Name in tables.

    Returns:
        An evaluation whose values are means over the seeds of each metric, and whose intervals come
        from resampling studies, the same resample for all seeds. Options are those of the first.

    Raises:
        DataError: there is nothing to pool, or the studies or references differ.
    """
    if not evaluations:
        raise DataError(f"{system}: no runs to pool; give at least one")
    first = evaluations[0]
    for other in evaluations[1:]:
        require_same_studies(first, other)
    return _summarise(
        system,
        tuple(name for one in evaluations for name in one.predictions),
        first.references,
        tuple(run for one in evaluations for run in one.runs),
        first.options,
    )


def with_source(evaluation: Evaluation, predictions: str) -> Evaluation:
    """Return the evaluation with the name of the file that its predictions came from."""
    return replace(evaluation, predictions=(predictions,))


def require_same_studies(a: Evaluation, b: Evaluation) -> None:
    """Refuse to set systems beside each other that were not scored alike.

    Args:
        a: One system.
        b: Another.

    Raises:
        DataError: the studies, the references or the metrics differ; the message counts the studies
            and names one.
    """
    only = sorted(set(a.references) ^ set(b.references))
    if only:
        owner = a.system if only[0] in a.references else b.system
        raise DataError(
            f"{a.system} and {b.system}: {len(only)} studies are in one of them only, such as "
            f"{only[0]} in {owner}; compare predictions for the same studies"
        )
    differing = [study for study, text in a.references.items() if b.references[study] != text]
    if differing:
        raise DataError(
            f"{a.system} and {b.system}: the references of {len(differing)} studies differ, "
            f"such as {differing[0]}; compare predictions against the same references"
        )
    names_a, names_b = ([m.name for m in one.metric_definitions] for one in (a, b))
    if names_a != names_b or a.rare_findings != b.rare_findings:
        raise DataError(
            f"{a.system} and {b.system} were scored with different rewards or rare findings; "
            "evaluate both with the same options"
        )


def _summarise(
    system: str,
    sources: tuple[str, ...],
    references: Mapping[str, str],
    runs: tuple[StudyStatistics, ...],
    options: EvaluationOptions,
) -> Evaluation:
    means_SK = np.stack([run.values_NK.mean(axis=0) for run in runs])
    rare = _rare_findings(means_SK[0], options, count=len(references))
    metrics = define_metrics(runs[0], rare_findings=rare)
    return Evaluation(
        system=system,
        predictions=sources,
        references=references,
        runs=runs,
        rare_findings=rare,
        metrics=_estimates(metrics, runs, options),
        per_finding=_finding_scores(means_SK, count=len(references)),
        options=options,
    )


def _estimates(
    metrics: Sequence[Metric], runs: Sequence[StudyStatistics], options: EvaluationOptions
) -> dict[str, Estimate]:
    """Estimate each metric on all studies and on resamples of them; seeds are averaged last."""
    values_NSK = np.stack([run.values_NK for run in runs], axis=1)
    count, seeds, columns = values_NSK.shape
    means_SK = values_NSK.mean(axis=0)
    drawn: list[list[NDArray[np.float64]]] = [[] for _ in metrics]
    rng = np.random.default_rng(options.seed)
    flat = values_NSK.reshape(count, seeds * columns)
    for block in resampled_means(flat, samples=options.samples, rng=rng):
        means_BSK = block.reshape(-1, seeds, columns)
        for values, metric in zip(drawn, metrics, strict=True):
            values.append(metric.value(means_BSK).mean(axis=-1))
    estimates = {}
    for values, metric in zip(drawn, metrics, strict=True):
        seed_values = metric.value(means_SK)
        low, high = percentile_interval(np.concatenate(values), confidence=options.confidence)
        estimates[metric.name] = Estimate(
            value=float(seed_values.mean()),
            low=low,
            high=high,
            seed_values=tuple(map(float, seed_values)),
        )
    return estimates


def _finding_scores(means_SK: NDArray[np.float64], *, count: int) -> dict[str, FindingScore]:
    counts_S3F = count * label_counts(means_SK)
    true_positive, false_positive, false_negative = np.moveaxis(counts_S3F, 1, 0)
    f1 = finding_f1(counts_S3F).mean(axis=0)
    precision = safe_ratio(true_positive, true_positive + false_positive).mean(axis=0)
    recall = safe_ratio(true_positive, true_positive + false_negative).mean(axis=0)
    support = (true_positive + false_negative)[0]
    predicted = (true_positive + false_positive).mean(axis=0)
    return {
        finding: FindingScore(
            f1=float(f1[k]),
            precision=float(precision[k]),
            recall=float(recall[k]),
            support=round(support[k]),
            predicted=round(float(predicted[k]), 6),
        )
        for k, finding in enumerate(FINDINGS)
    }


def _rare_findings(
    means_K: NDArray[np.float64], options: EvaluationOptions, *, count: int
) -> tuple[str, ...]:
    """Return the rare findings by the references; No Finding is never one of them."""
    if options.rare_findings is not None:
        return options.rare_findings
    true_positive, _, false_negative = label_counts(means_K)
    support = np.rint(count * (true_positive + false_negative))
    return tuple(
        finding
        for k, finding in enumerate(FINDINGS)
        if k != NO_FINDING_INDEX and 0 < support[k] < options.rare_share * count
    )
