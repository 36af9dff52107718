"""Comparing two systems on the same studies."""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from editgrpo.evaluation.bootstrap import (
    draw_seeds,
    over_seeds,
    permutation_p,
    swapped_means,
)
from editgrpo.evaluation.evaluate import (
    Evaluation,
    require_same_studies,
    resampled_values,
)
from editgrpo.evaluation.intervals import Ends, interval_ends, metric_values
from editgrpo.evaluation.rows import known_patients
from editgrpo.evaluation.types import Comparison, Difference, Estimate
from editgrpo.evaluation.units import units_of


def compare(a: Evaluation, b: Evaluation) -> Comparison:
    """Compare two systems, patient by patient.

    The interval is a percentile bootstrap of a - b: both systems are averaged over the same
    resamples of patients. Where both have several seeds, these are resampled too: in pairs, the
    i-th of one with the i-th of the other, if there are equally many, else each side by itself.
    The p-value is that of a paired permutation (approximate randomisation) test: under the null
    hypothesis a patient's reports could have come from either system, so they are exchanged at
    random; all studies of a patient and all seeds of a system move together.

    Args:
        a: One system.
        b: Another on the same studies, with the same references and options of scoring.

    Returns:
        The difference a - b of every metric. Seed, samples and confidence are those of `a`;
        patients those of whichever knows them.

    Raises:
        DataError: the studies, references, patients or metrics differ.

    Source: Noreen 1989; Riezler and Maxwell 2005, on tests of corpus metrics.
    """
    require_same_studies(a, b)
    options, patients = a.options, known_patients((a, b))
    units = units_of(patients, studies=a.n_studies)
    patient_rng, permutation_rng, seed_rng = np.random.default_rng(options.seed).spawn(3)
    resampled = resampled_values((a, b), patient_rng)
    null = exchanged_differences(a, b, permutation_rng)
    claims = _SeedDraws(len(a.runs), len(b.runs), samples=options.samples, rng=seed_rng)
    differences = {}
    for metric in a.metric_definitions:
        one, other = a.metrics[metric.name], b.metrics[metric.name]
        values_a, values_b = np.split(resampled[metric.name], [len(a.runs)], axis=1)
        ends = interval_ends(
            claims.differences(values_a, values_b),
            values_a.mean(axis=1) - values_b.mean(axis=1),
            units=units.count,
            options=options,
            name=metric.name,
        )
        differences[metric.name] = difference_of(one, other, ends, null[metric.name])
    return Comparison(
        a=a.system,
        b=b.system,
        predictions_a=a.predictions,
        predictions_b=b.predictions,
        n_studies=a.n_studies,
        n_patients=None if patients is None else units.count,
        n_test_sets=1,
        seeds_a=len(a.runs),
        seeds_b=len(b.runs),
        metrics=differences,
        options=options,
        directions={metric.name: metric.direction for metric in a.metric_definitions},
        scored_with=a.scored_with,
    )


def difference_of(a: Estimate, b: Estimate, ends: Ends, null_P: NDArray[np.float64]) -> Difference:
    """Set down how two systems differ in a metric.

    Args:
        a: One system's estimate.
        b: The other's.
        ends: Of the intervals of a - b.
        null_P: (P,) differences that exchanging patients at random leaves.

    Returns:
        The difference a - b.
    """
    difference = a.value - b.value
    return Difference(
        a=a.value,
        b=b.value,
        difference=difference,
        **ends._asdict(),
        p=permutation_p(difference, null_P, size=max(abs(a.value), abs(b.value))),
        seed_differences=_seed_differences(a, b),
    )


def _seed_differences(a: Estimate, b: Estimate) -> tuple[float, ...]:
    """Return a - b of each pair of seeds; empty if one side has more of them."""
    if len(a.seed_values) != len(b.seed_values):
        return ()
    return tuple(one - other for one, other in zip(a.seed_values, b.seed_values, strict=True))


def exchanged_differences(
    a: Evaluation, b: Evaluation, rng: Generator
) -> dict[str, NDArray[np.float64]]:
    """Return for each metric the differences that exchanging patients at random leaves.

    Where the numbers of seeds differ, each side's are repeated up to their least common multiple;
    means over seeds stay what they were.

    Args:
        a: One system.
        b: Another on the same studies.
        rng: Decides which patients are exchanged.

    Returns:
        (P,) float64 for each metric, P the samples of `a`.
    """
    units = units_of(known_patients((a, b)), studies=a.n_studies)
    seeds = math.lcm(len(a.runs), len(b.runs))
    sides = [
        np.repeat(one.stacked(), seeds // len(one.runs), axis=1).reshape(one.n_studies, -1)
        for one in (a, b)
    ]
    swapped = swapped_means(*sides, samples=a.options.samples, rng=rng, units=units)
    values = metric_values(
        a.metric_definitions,
        (
            a.means(np.concatenate(halves, axis=1).reshape(len(halves[0]), 2 * seeds, -1))
            for halves in swapped
        ),
    )
    return {
        name: both[:, :seeds].mean(axis=1) - both[:, seeds:].mean(axis=1)
        for name, both in values.items()
    }


class _SeedDraws:
    """Draws of the seeds of two systems, the same for all metrics."""

    def __init__(self, seeds_a: int, seeds_b: int, *, samples: int, rng: Generator) -> None:
        self._are_several = min(seeds_a, seeds_b) > 1
        self._a_BJ = draw_seeds(seeds_a, samples=samples, rng=rng)
        paired = seeds_a == seeds_b
        self._b_BJ = self._a_BJ if paired else draw_seeds(seeds_b, samples=samples, rng=rng)

    def differences(
        self, values_a: NDArray[np.float64], values_b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the (B,) differences of both sides' values, (B, S), over the seeds drawn; over
        all seeds if a side has a single one."""
        if not self._are_several:
            return np.asarray(values_a.mean(axis=1) - values_b.mean(axis=1))
        return over_seeds(values_a, self._a_BJ) - over_seeds(values_b, self._b_BJ)
