"""Resampling of patients and of training seeds, without scoring anything twice.

Every metric of this package is a function of the mean over studies of some per-study numbers
(counts of true positives, n-gram matches, a score). A resample of patients is then a matrix
product, and all metrics share the same resamples. What a patient is, `units.py` says.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from editgrpo.errors import RewardError
from editgrpo.evaluation.units import Units, units_of

_BLOCK_CELLS = 4_000_000  # resamples times units held at once: 32 MB of float64


def resampled_means(
    values_NK: NDArray[np.float64], *, samples: int, rng: Generator, units: Units | None = None
) -> Iterator[NDArray[np.float64]]:
    """Average per-study numbers over bootstrap resamples of the patients.

    Args:
        values_NK: (N, K) float64, one row for each study.
        samples: Resamples B.
        rng: Draws M patients with replacement, B times; each brings all of its studies.
        units: The M patients of the studies; None takes every study for another's.

    Yields:
        Blocks (b, K) float64 of means over the studies drawn; the b of all blocks add up to B.
    """
    units = units or units_of(None, studies=len(values_NK))
    count = units.count
    sums_MK, studies_M = units.sums(values_NK), units.studies
    for size in _block_sizes(samples, count):
        drawn = rng.integers(0, count, size=(size, count))
        cells = drawn + count * np.arange(size)[:, None]
        times = np.bincount(cells.ravel(), minlength=size * count).reshape(size, count)
        yield times @ sums_MK / (times @ studies_M)[:, None]


def swapped_means(
    a_NK: NDArray[np.float64],
    b_NK: NDArray[np.float64],
    *,
    samples: int,
    rng: Generator,
    units: Units | None = None,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Average per-study numbers of two systems after exchanging them at random for half the
    patients.

    Args:
        a_NK: (N, K) float64 of one system.
        b_NK: (N, K) float64 of the other, for the same studies in the same order.
        samples: Random exchanges.
        rng: Flips a fair coin for every patient of every exchange; all of its studies follow.
        units: The patients of the studies; None takes every study for another's.

    Yields:
        Blocks of two (b, K) float64: the means of both sides after the exchange.
    """
    units = units or units_of(None, studies=len(a_NK))
    mean_a, mean_b = a_NK.mean(axis=0), b_NK.mean(axis=0)
    moves_MK = units.sums(b_NK - a_NK) / len(a_NK)
    for size in _block_sizes(samples, units.count):
        is_swapped = rng.integers(0, 2, size=(size, units.count)).astype(np.float64)
        moved = is_swapped @ moves_MK
        yield mean_a + moved, mean_b - moved


def draw_seeds(seeds: int, *, samples: int, rng: Generator) -> NDArray[np.intp]:
    """Draw training seeds for a bootstrap over them.

    Args:
        seeds: S, how many there are, at least 1.
        samples: Resamples B.
        rng: Draws S - 1 of them with replacement, B times. Draws of S would make the variance of
            their mean too small by (S - 1) / S, a third at three seeds.

    Returns:
        (B, S - 1) seeds in 0..S-1; (B, 1) of a single seed.

    Source: Rao and Wu, 1988, "Resampling inference with complex survey data", on few clusters.
    """
    return rng.integers(0, seeds, size=(samples, max(1, seeds - 1)))


def over_seeds(values_BS: NDArray[np.float64], drawn_BJ: NDArray[np.intp]) -> NDArray[np.float64]:
    """Average the values of drawn seeds: (B, S) values and (B, J) seeds to (B,)."""
    return np.asarray(np.take_along_axis(values_BS, drawn_BJ, axis=1).mean(axis=1))


def percentile_interval(
    values_B: NDArray[np.float64], *, confidence: float, name: str = "the metric"
) -> tuple[float, float]:
    """Return the ends of the central interval.

    Args:
        values_B: (B,) float64, one value for each resample.
        confidence: Share of the values inside.
        name: What was resampled, for messages.

    Returns:
        The (1 - confidence) / 2 and (1 + confidence) / 2 quantiles, linearly interpolated.

    Raises:
        RewardError: a resample has no value.
    """
    wrong = np.count_nonzero(~np.isfinite(values_B))
    if wrong:
        raise RewardError(
            f"{name} is NaN or infinite on {wrong} of {len(values_B)} resamples; define its value "
            "where nothing of it occurs, as the metrics of the catalogue do"
        )
    tail = (1 - confidence) / 2
    low, high = np.quantile(values_B, [tail, 1 - tail])
    return float(low), float(high)


def permutation_p(
    difference: float, null_differences_P: NDArray[np.float64], *, size: float = 1.0
) -> float:
    """Return the two-sided p-value of a difference.

    Args:
        difference: The observed difference.
        null_differences_P: (P,) float64, the differences after random exchanges.
        size: Magnitude of the values that were subtracted, which bounds their rounding.

    Returns:
        (1 + how many are at least as large in magnitude) / (1 + P), so never 0.

    Source: Phipson and Smyth, 2010, "Permutation P-values should never be zero".
    """
    # An exchange that gives the observed split again may differ from it by rounding: some 1e-16 of
    # the values for each of thousands of studies.
    reached = np.abs(null_differences_P) >= abs(difference) - 1e-12 * max(1.0, size)
    return float((1 + np.count_nonzero(reached)) / (1 + len(null_differences_P)))


def _block_sizes(samples: int, count: int) -> Iterator[int]:
    """Cut `samples` into blocks that fit in memory."""
    size = max(1, math.floor(_BLOCK_CELLS / count))
    for start in range(0, samples, size):
        yield min(size, samples - start)
