"""Comparing two systems on the same studies."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from editgrpo.evaluation.bootstrap import (
    percentile_interval,
    permutation_p,
    resampled_means,
    swapped_means,
)
from editgrpo.evaluation.evaluate import Evaluation, require_same_studies
from editgrpo.evaluation.types import Comparison, Difference


def compare(a: Evaluation, b: Evaluation) -> Comparison:
    """Compare two systems, study by study.

    The interval is a percentile bootstrap of a - b: both systems are averaged over the same
    resamples of studies. The p-value is that of a paired permutation (approximate randomisation)
    test: under the null hypothesis a study's reports could have come from either system, so they
    are exchanged at random; all seeds of a system move together.

    Args:
        a: One system.
        b: Another on the same studies, with the same references and options of scoring.

    Returns:
        The difference a - b of every metric. Seed, samples and confidence are those of `a`.

    Raises:
        DataError: the studies, references or metrics differ.

    Source: Noreen 1989; Riezler and Maxwell 2005, on tests of corpus metrics.
    """
    require_same_studies(a, b)
    metrics = a.metric_definitions
    options = a.options
    sides = _SeedMatched(a, b)
    bootstrap_rng, permutation_rng = np.random.default_rng(options.seed).spawn(2)
    both = np.concatenate([sides.a_NK, sides.b_NK], axis=1)
    halves = (
        tuple(np.split(block, 2, axis=1))
        for block in resampled_means(both, samples=options.samples, rng=bootstrap_rng)
    )
    resampled = sides.differences(halves)
    swapped = swapped_means(sides.a_NK, sides.b_NK, samples=options.samples, rng=permutation_rng)
    null = sides.differences(swapped)
    differences = {}
    for k, metric in enumerate(metrics):
        value_a, value_b = a.metrics[metric.name].value, b.metrics[metric.name].value
        low, high = percentile_interval(resampled[k], confidence=options.confidence)
        differences[metric.name] = Difference(
            a=value_a,
            b=value_b,
            difference=value_a - value_b,
            low=low,
            high=high,
            p=permutation_p(value_a - value_b, null[k]),
        )
    return Comparison(
        a=a.system,
        b=b.system,
        n_studies=a.n_studies,
        seeds_a=len(a.runs),
        seeds_b=len(b.runs),
        metrics=differences,
        options=options,
        directions={metric.name: metric.direction for metric in metrics},
        scored_with=a.scored_with,
    )


class _SeedMatched:
    """The statistics of two systems with as many seeds on either side, (N, S*K) each.

    Where the numbers of seeds differ, each side's are repeated up to their least common multiple;
    means over seeds stay what they were.
    """

    def __init__(self, a: Evaluation, b: Evaluation) -> None:
        self._system = a
        self._seeds = math.lcm(len(a.runs), len(b.runs))
        self.a_NK = self._flat(a)
        self.b_NK = self._flat(b)

    def _flat(self, evaluation: Evaluation) -> NDArray[np.float64]:
        values_NSK = evaluation.stacked()
        repeated = np.repeat(values_NSK, self._seeds // values_NSK.shape[1], axis=1)
        return repeated.reshape(evaluation.n_studies, -1)

    def differences(
        self, blocks: Iterable[tuple[NDArray[np.float64], ...]]
    ) -> list[NDArray[np.float64]]:
        """Return for each metric the (B,) differences a - b of its means over seeds."""
        metrics = self._system.metric_definitions
        drawn: list[list[NDArray[np.float64]]] = [[] for _ in metrics]
        for block_a, block_b in blocks:
            means_a, means_b = (
                self._system.means(block.reshape(len(block), self._seeds, -1))
                for block in (block_a, block_b)
            )
            for values, metric in zip(drawn, metrics, strict=True):
                difference = metric.formula(means_a) - metric.formula(means_b)
                values.append(difference.mean(axis=-1))
        return [np.concatenate(values) for values in drawn]
