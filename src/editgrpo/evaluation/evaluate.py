"""Evaluating one system: metrics over a test set with bootstrap intervals over its patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from editgrpo.errors import DataError
from editgrpo.evaluation.bootstrap import draw_seeds, over_seeds, resampled_means
from editgrpo.evaluation.findings import finding_scores, rare_findings
from editgrpo.evaluation.intervals import interval_ends, metric_values
from editgrpo.evaluation.rows import StudyRows, known_patients, require_same_rows, rows_of
from editgrpo.evaluation.scoring_plan import ScoringPlan
from editgrpo.evaluation.statistics import StudyStatistics, study_statistics
from editgrpo.evaluation.types import (
    Estimate,
    EvaluationOptions,
    FindingScore,
    Prediction,
    ProgressCallback,
)
from editgrpo.evaluation.units import units_of
from editgrpo.metrics.metric import Means, Metric, SourceKind
from editgrpo.reports.chexpert import FINDINGS


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation(StudyRows):
    """One system on one test set.

    Attributes:
        system: Its name in tables.
        predictions: Where the predictions came from, one name a seed; empty if not from files.
        references: Study id to reference report, sorted by study id; the order of all rows.
        patients: The patient of each study in that order; None if they are not known.
        runs: Statistics of each seed's predictions, at least one.
        labeler: Whose labels `rare_findings` and `per_finding` rest on: the first labeler that a
            metric needs; None if none does.
        rare_findings: The findings of the "rare" metrics.
        metrics: Metric name to estimate.
        per_finding: Finding to its scores, in CheXpert's order; empty without a labeler.
        options: What was asked for.
    """

    predictions: tuple[str, ...]
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

    @property
    def n_patients(self) -> int | None:
        """How many patients the studies are of; None if that is not known."""
        return None if self.patients is None else len(set(self.patients))

    @property
    def n_test_sets(self) -> int:
        """One: all seeds share their studies."""
        return 1

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
        DataError: there are no predictions, a study appears twice, or only some have a patient.
        RewardError: a number is NaN or infinite.
    """
    ordered = sorted(predictions, key=lambda one: one.study_id)
    rows = rows_of(ordered, system=system)
    statistics = study_statistics(ordered, plan, partials=partials, progress=progress)
    return evaluate_statistics(rows, (statistics,), options=options)


def evaluate_statistics(
    rows: StudyRows, runs: Sequence[StudyStatistics], *, options: EvaluationOptions | None = None
) -> Evaluation:
    """Estimate every metric from numbers that were computed before, without any text.

    Args:
        rows: The system and its N studies, sorted by study id. A reference may be anything that is
            the same for the same reference, such as its hash.
        runs: At least one; the (N, K) numbers of each seed, in the order of the studies.
        options: Bootstrap and rare findings; None takes the defaults.

    Returns:
        The evaluation.

    Raises:
        DataError: a run has another number of studies.
    """
    for run in runs:
        if len(run.values_NK) != len(rows.references):
            raise DataError(
                f"{rows.system}: numbers of {len(run.values_NK)} studies for "
                f"{len(rows.references)}; score its predictions again"
            )
    return _summarise(
        Evaluation(
            system=rows.system,
            predictions=(),
            references=rows.references,
            patients=rows.patients,
            runs=tuple(runs),
            labeler=None,
            rare_findings=(),
            metrics={},
            per_finding={},
            options=options or EvaluationOptions(),
        )
    )


def pool_seeds(evaluations: Sequence[Evaluation], *, system: str) -> Evaluation:
    """Combine runs of one system that differ in their training or sampling seed.

    Args:
        evaluations: At least one, over the same studies and references.
        system: Name in tables.

    Returns:
        An evaluation whose values are means over the seeds of each metric. Its intervals come from
        resampling seeds and patients, each resample of patients the same for all seeds, since all
        were tested on them. Options are those of the first, patients those of whichever knows them.

    Raises:
        DataError: there is nothing to pool, or the studies, references or patients differ.
    """
    if not evaluations:
        raise DataError(f"{system}: no runs to pool; give at least one")
    first = evaluations[0]
    for other in evaluations[1:]:
        require_same_studies(first, other)
    return _summarise(
        replace(
            first,
            system=system,
            predictions=tuple(name for one in evaluations for name in one.predictions),
            patients=known_patients(evaluations),
            runs=tuple(run for one in evaluations for run in one.runs),
        )
    )


def require_same_studies(a: Evaluation, b: Evaluation) -> None:
    """Refuse to compare systems that were not scored alike.

    Args:
        a: One system.
        b: Another.

    Raises:
        DataError: the studies, their references or patients, or the metrics differ; the message
            counts the studies and names one.
    """
    require_same_rows(a, b)
    require_same_scoring(a, b)


def require_same_scoring(a: Evaluation, b: Evaluation) -> None:
    """Refuse evaluations of different metrics, rare findings or models.

    Args:
        a: One evaluation.
        b: Another; its studies may be others.

    Raises:
        DataError: they were not scored alike.
    """
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


def _summarise(evaluation: Evaluation) -> Evaluation:
    """Fill in what follows from the statistics of the runs."""
    runs, count = evaluation.runs, evaluation.n_studies
    labeler = _labeler(runs[0].plan)
    counts_S3F = np.zeros((len(runs), 3, len(FINDINGS)))
    if labeler is not None:
        means = [run.means(run.values_NK.mean(axis=0)) for run in runs]
        counts_S3F = count * np.stack([one.counts(labeler) for one in means])
    named = replace(
        evaluation,
        labeler=labeler,
        rare_findings=rare_findings(counts_S3F[0], evaluation.options, count=count),
        per_finding={} if labeler is None else finding_scores(counts_S3F),
    )
    return replace(named, metrics=_estimates(named))


def _labeler(plan: ScoringPlan) -> str | None:
    """Return the first labeler that a metric needs."""
    labelers = (source.name for source in plan.scorers if source.kind is SourceKind.LABELS)
    return next(labelers, None)


def resampled_values(
    evaluations: Sequence[Evaluation], rng: Generator
) -> dict[str, NDArray[np.float64]]:
    """Compute the metrics of evaluations on the same resamples of their patients.

    Args:
        evaluations: One, or several on the same studies.
        rng: Draws the patients.

    Returns:
        For each metric (B, S) float64: the values of all seeds of all evaluations, in order.
    """
    first = evaluations[0]
    values_NSK = np.concatenate([one.stacked() for one in evaluations], axis=1)
    blocks = resampled_means(
        values_NSK.reshape(len(values_NSK), -1),
        samples=first.options.samples,
        rng=rng,
        units=units_of(known_patients(evaluations), studies=first.n_studies),
    )
    shape = (-1, *values_NSK.shape[1:])
    means = (first.means(block.reshape(shape)) for block in blocks)
    return metric_values(first.metric_definitions, means)


def _estimates(evaluation: Evaluation) -> dict[str, Estimate]:
    """Estimate each metric on all studies and on resamples of their patients and of the seeds."""
    options, metrics = evaluation.options, evaluation.metric_definitions
    rng = np.random.default_rng(options.seed)
    (seed_rng,) = rng.spawn(1)
    drawn = resampled_values((evaluation,), rng)
    seeds = draw_seeds(len(evaluation.runs), samples=options.samples, rng=seed_rng)
    units = evaluation.n_patients or evaluation.n_studies
    means_SK = evaluation.means(evaluation.stacked().mean(axis=0))
    estimates = {}
    for metric in metrics:
        seed_values, values_BS = metric.formula(means_SK), drawn[metric.name]
        ends = interval_ends(
            over_seeds(values_BS, seeds),
            values_BS.mean(axis=1),
            units=units,
            options=options,
            name=metric.name,
        )
        estimates[metric.name] = Estimate(
            value=float(seed_values.mean()),
            **ends._asdict(),
            seed_values=tuple(map(float, seed_values)),
        )
    return estimates
