"""Evaluating one system: metrics over a test set with bootstrap intervals over its studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from editgrpo.errors import DataError
from editgrpo.evaluation.bootstrap import percentile_interval, resampled_means
from editgrpo.evaluation.label_metrics import finding_f1, safe_ratio
from editgrpo.evaluation.metrics import Means, Metric, SourceKind
from editgrpo.evaluation.sources import ScoringPlan
from editgrpo.evaluation.statistics import StudyStatistics, study_statistics
from editgrpo.evaluation.types import (
    Estimate,
    EvaluationOptions,
    FindingScore,
    Prediction,
    ProgressCallback,
)
from editgrpo.reports.chexpert import FINDINGS, NO_FINDING_INDEX


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """One system on one test set.

    Attributes:
        system: Its name in tables.
        predictions: Where the predictions came from, one name a seed; empty if not from files.
        references: Study id to reference report, sorted by study id; the order of all rows.
        runs: Statistics of each seed's predictions, at least one.
        labeler: Whose labels `rare_findings` and `per_finding` rest on: the first labeler that a
            metric needs; None if none does.
        rare_findings: The findings of the "rare" metrics.
        metrics: Metric name to estimate.
        per_finding: Finding to its scores, in CheXpert's order; empty without a labeler.
        options: What was asked for.
    """

    system: str
    predictions: tuple[str, ...]
    references: Mapping[str, str] = field(repr=False)
    runs: tuple[StudyStatistics, ...] = field(repr=False)
    labeler: str | None
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
        """The metrics, in the order in which they are shown; those of rare findings only if there
        are any."""
        metrics = self.runs[0].plan.metrics
        return tuple(one for one in metrics if self.rare_findings or not one.needs_rare)

    @property
    def scored_with(self) -> Mapping[str, str]:
        """What the numbers depend on besides the texts, such as the identity of each model."""
        return self.runs[0].plan.scored_with

    def means(self, values: NDArray[np.float64]) -> Means:
        """Name the columns of means over studies, (..., K)."""
        return self.runs[0].means(values, self.rare_findings)


def evaluate_predictions(
    predictions: Sequence[Prediction],
    *,
    system: str,
    plan: ScoringPlan,
    options: EvaluationOptions | None = None,
    partials: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Score predictions and estimate every metric.

    Args:
        predictions: At least one study; the order does not matter.
        system: Name in tables.
        plan: The metrics, and what computes their numbers.
        options: Bootstrap and rare findings; None takes the defaults.
        partials: Hidden folder from which a stopped run goes on; see `study_statistics`.
        progress: Called with studies scored and all studies.

    Returns:
        The evaluation, its rows sorted by study id.

    Raises:
        DataError: there are no predictions, or a study stands twice.
        RewardError: a number is NaN or infinite.
    """
    ordered = sorted(predictions, key=lambda one: one.study_id)
    references = {one.study_id: one.reference for one in ordered}
    if not ordered:
        raise DataError(f"{system}: no predictions to evaluate; give at least one study")
    if len(references) < len(ordered):
        raise DataError(f"{system}: a study stands twice; keep one prediction for each study")
    statistics = study_statistics(ordered, plan, partials=partials, progress=progress)
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
            f"{a.system} and {b.system} were scored with different metrics or rare findings; "
            "evaluate both with the same options"
        )
    if a.scored_with != b.scored_with:
        raise DataError(
            f"{a.system} and {b.system} were scored with different models; use the same weights "
            "for both"
        )


def _summarise(
    system: str,
    sources: tuple[str, ...],
    references: Mapping[str, str],
    runs: tuple[StudyStatistics, ...],
    options: EvaluationOptions,
) -> Evaluation:
    labeler = _labeler(runs[0].plan)
    counts_S3F = np.zeros((len(runs), 3, len(FINDINGS)))
    if labeler is not None:
        means = [run.means(run.values_NK.mean(axis=0)) for run in runs]
        counts_S3F = len(references) * np.stack([one.counts(labeler) for one in means])
    evaluation = Evaluation(
        system=system,
        predictions=sources,
        references=references,
        runs=runs,
        labeler=labeler,
        rare_findings=_rare_findings(counts_S3F[0], options, count=len(references)),
        metrics={},
        per_finding={} if labeler is None else _finding_scores(counts_S3F),
        options=options,
    )
    return replace(evaluation, metrics=_estimates(evaluation))


def _labeler(plan: ScoringPlan) -> str | None:
    """Return the first labeler that a metric needs."""
    labelers = (source.name for source in plan.scorers if source.kind is SourceKind.LABELS)
    return next(labelers, None)


def _estimates(evaluation: Evaluation) -> dict[str, Estimate]:
    """Estimate each metric on all studies and on resamples of them; seeds are averaged last."""
    options, metrics = evaluation.options, evaluation.metric_definitions
    values_NSK = evaluation.stacked()
    count, seeds, columns = values_NSK.shape
    means_SK = evaluation.means(values_NSK.mean(axis=0))
    drawn: list[list[NDArray[np.float64]]] = [[] for _ in metrics]
    rng = np.random.default_rng(options.seed)
    flat = values_NSK.reshape(count, seeds * columns)
    for block in resampled_means(flat, samples=options.samples, rng=rng):
        means_BSK = evaluation.means(block.reshape(-1, seeds, columns))
        for values, metric in zip(drawn, metrics, strict=True):
            values.append(metric.formula(means_BSK).mean(axis=-1))
    estimates = {}
    for values, metric in zip(drawn, metrics, strict=True):
        seed_values = metric.formula(means_SK)
        low, high = percentile_interval(np.concatenate(values), confidence=options.confidence)
        estimates[metric.name] = Estimate(
            value=float(seed_values.mean()),
            low=low,
            high=high,
            seed_values=tuple(map(float, seed_values)),
        )
    return estimates


def _finding_scores(counts_S3F: NDArray[np.float64]) -> dict[str, FindingScore]:
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
    counts_3F: NDArray[np.float64], options: EvaluationOptions, *, count: int
) -> tuple[str, ...]:
    """Return the rare findings by the references; No Finding is never one of them."""
    if options.rare_findings is not None:
        return options.rare_findings
    true_positive, _, false_negative = counts_3F
    support = np.rint(true_positive + false_negative)
    return tuple(
        finding
        for k, finding in enumerate(FINDINGS)
        if k != NO_FINDING_INDEX and 0 < support[k] < options.rare_share * count
    )
