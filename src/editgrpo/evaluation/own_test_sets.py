"""Seeds that were each tested on a test set of its own, as where a seed also draws the studies.

Seeds that share a test set are pooled by `evaluate.pool_seeds`: there the luck of the patients is
common to all of them. Here every seed has other patients, so patients are drawn within each seed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from editgrpo.errors import DataError
from editgrpo.evaluation.bootstrap import draw_seeds
from editgrpo.evaluation.compare import difference_of, exchanged_differences
from editgrpo.evaluation.evaluate import (
    Evaluation,
    require_same_scoring,
    require_same_studies,
    resampled_values,
)
from editgrpo.evaluation.intervals import Ends, interval_ends
from editgrpo.evaluation.rows import known_patients
from editgrpo.evaluation.types import (
    Comparison,
    Estimate,
    EvaluationOptions,
    FindingScore,
)
from editgrpo.evaluation.units import units_of
from editgrpo.metrics.metric import Metric


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedsOfOwnSets:
    """One system of several seeds, each with a test set of its own.

    Attributes:
        system: Its name in tables.
        runs: The evaluation of each seed, at least two.
        metrics: Metric name to estimate; values are means over the seeds.
        per_finding: Finding to its scores: means over the seeds, support and predictions added up.
    """

    system: str
    runs: tuple[Evaluation, ...] = field(repr=False)
    metrics: Mapping[str, Estimate]
    per_finding: Mapping[str, FindingScore]

    @property
    def predictions(self) -> tuple[str, ...]:
        """Where the predictions came from, one name a seed."""
        return tuple(name for run in self.runs for name in run.predictions)

    @property
    def n_studies(self) -> int:
        """The studies of all test sets."""
        return sum(run.n_studies for run in self.runs)

    @property
    def n_patients(self) -> int | None:
        """The patients of all test sets; None if those of one are not known."""
        return _added(run.n_patients for run in self.runs)

    @property
    def n_test_sets(self) -> int:
        """How many test sets there are."""
        return len(self.runs)

    @property
    def metric_definitions(self) -> tuple[Metric, ...]:
        """The metrics, in the order in which they are shown."""
        return self.runs[0].metric_definitions

    @property
    def options(self) -> EvaluationOptions:
        """What was asked for, by the first seed's evaluation."""
        return self.runs[0].options

    @property
    def labeler(self) -> str | None:
        """Whose labels `per_finding` rests on."""
        return self.runs[0].labeler

    @property
    def rare_findings(self) -> tuple[str, ...]:
        """The findings of the "rare" metrics."""
        return self.runs[0].rare_findings

    @property
    def scored_with(self) -> Mapping[str, str]:
        """What the numbers depend on besides the texts."""
        return self.runs[0].scored_with


def pool_test_sets(runs: Sequence[Evaluation], *, system: str) -> SeedsOfOwnSets:
    """Combine the seeds of one system, each tested on a test set of its own.

    A resample draws seeds, and for every seed drawn, patients of its test set anew.

    Args:
        runs: The evaluation of each seed, at least two; name the rare findings in their options,
            or the test sets may differ in them.
        system: Name in tables.

    Returns:
        The estimates. Seed, samples and confidence are those of the first run.

    Raises:
        DataError: there are fewer than two runs, one pools seeds itself, or they were scored with
            different metrics, rare findings or models.
    """
    _require_seeds(runs, system)
    drawn = _Drawn([(run,) for run in runs], runs[0].options)
    estimates = {}
    for metric in runs[0].metric_definitions:
        seed_values = tuple(run.metrics[metric.name].value for run in runs)
        ends = drawn.ends(metric.name)
        estimates[metric.name] = Estimate(
            value=float(np.mean(seed_values)),
            **ends._asdict(),
            seed_values=seed_values,
        )
    return SeedsOfOwnSets(
        system=system, runs=tuple(runs), metrics=estimates, per_finding=_finding_scores(runs)
    )


def compare_test_sets(a: SeedsOfOwnSets, b: SeedsOfOwnSets) -> Comparison:
    """Compare two systems, seed by seed, each pair of seeds on the test set that both share.

    Args:
        a: One system.
        b: Another; its i-th seed was tested on the studies of the i-th of `a`.

    Returns:
        The difference a - b of every metric. Intervals draw pairs of seeds and patients within
        each; p-values exchange patients, so they are of these runs.

    Raises:
        DataError: the numbers of seeds differ, or the studies, references, patients or metrics of
            a pair do.
    """
    if len(a.runs) != len(b.runs):
        raise DataError(
            f"{a.system} has {len(a.runs)} seeds and {b.system} {len(b.runs)}, each with its own "
            "test set; evaluate both on the same test sets"
        )
    pairs = list(zip(a.runs, b.runs, strict=True))
    for pair in pairs:
        require_same_studies(*pair)
    drawn = _Drawn(pairs, a.options)
    null = _null(pairs, a.options)
    differences = {}
    for metric in a.metric_definitions:
        one, other = a.metrics[metric.name], b.metrics[metric.name]
        ends = drawn.ends(metric.name)
        differences[metric.name] = difference_of(one, other, ends, null[metric.name])
    return Comparison(
        a=a.system,
        b=b.system,
        predictions_a=a.predictions,
        predictions_b=b.predictions,
        n_studies=a.n_studies,
        n_patients=_added(len(set(known_patients(pair) or ())) or None for pair in pairs),
        n_test_sets=len(pairs),
        seeds_a=len(pairs),
        seeds_b=len(pairs),
        metrics=differences,
        options=a.options,
        directions={metric.name: metric.direction for metric in a.metric_definitions},
        scored_with=a.scored_with,
    )


class _Drawn:
    """Values of one system, or differences of two, on resamples of seeds and their patients."""

    def __init__(self, seeds: Sequence[Sequence[Evaluation]], options: EvaluationOptions) -> None:
        """Resample.

        Args:
            seeds: For each seed, the evaluation of one system, or of two on the same studies.
            options: Seed, samples and confidence.
        """
        self._options = options
        units = [units_of(known_patients(sides), studies=sides[0].n_studies) for sides in seeds]
        self._units = max(one.count for one in units)
        seed_rng, *patient_rngs = np.random.default_rng(options.seed).spawn(1 + len(seeds))
        self._drawn_BJ = draw_seeds(len(seeds), samples=options.samples, rng=seed_rng)
        # One resample of a seed's patients for each time that it may be drawn, and one for itself.
        self._slots = [
            [_values(sides, rng) for rng in patient_rng.spawn(self._drawn_BJ.shape[1] + 1)]
            for sides, patient_rng in zip(seeds, patient_rngs, strict=True)
        ]

    def ends(self, name: str) -> Ends:
        """Return the intervals of a metric."""
        values_SJB = np.stack([[slot[name] for slot in slots] for slots in self._slots])
        samples, times = self._drawn_BJ.shape
        claims_BJ = values_SJB[self._drawn_BJ, np.arange(times), np.arange(samples)[:, None]]
        return interval_ends(
            claims_BJ.mean(axis=1),
            values_SJB[:, -1].mean(axis=0),
            units=self._units,
            options=self._options,
            name=name,
        )


def _values(sides: Sequence[Evaluation], rng: Generator) -> dict[str, NDArray[np.float64]]:
    """Return for each metric the (B,) values of one system, or first less second, on resamples."""
    values = resampled_values(sides, rng)
    return {
        name: both[:, 0] - both[:, 1] if len(sides) > 1 else both[:, 0]
        for name, both in values.items()
    }


def _null(
    pairs: Sequence[tuple[Evaluation, Evaluation]], options: EvaluationOptions
) -> dict[str, NDArray[np.float64]]:
    """Return for each metric the (P,) mean differences after exchanges of patients in each pair."""
    rngs = np.random.default_rng(options.seed).spawn(1 + 2 * len(pairs))[1 + len(pairs) :]
    exchanged = [exchanged_differences(*pair, rng) for pair, rng in zip(pairs, rngs, strict=True)]
    return {name: np.mean([one[name] for one in exchanged], axis=0) for name in exchanged[0]}


def _added(counts: Iterable[int | None]) -> int | None:
    """Add up what is known; None if something is not."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def _require_seeds(runs: Sequence[Evaluation], system: str) -> None:
    if len(runs) < 2:
        raise DataError(f"{system}: {len(runs)} seeds; give the evaluations of two at least")
    for run in runs:
        if len(run.runs) > 1:
            raise DataError(f"{system}: a run pools {len(run.runs)} seeds; give one run a seed")
        require_same_scoring(runs[0], run)


def _finding_scores(runs: Sequence[Evaluation]) -> dict[str, FindingScore]:
    found = {}
    for name in runs[0].per_finding:
        rows = [run.per_finding[name] for run in runs]
        found[name] = FindingScore(
            f1=float(np.mean([row.f1 for row in rows])),
            precision=float(np.mean([row.precision for row in rows])),
            recall=float(np.mean([row.recall for row in rows])),
            support=sum(row.support for row in rows),
            predicted=sum(row.predicted for row in rows),
        )
    return found
