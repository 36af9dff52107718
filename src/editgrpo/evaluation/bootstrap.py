"""Resampling of studies, without scoring anything twice.

Every metric of this package is a function of the mean over studies of some per-study numbers
(counts of true positives, n-gram matches, a score). A resample of studies is then a matrix product,
and all metrics share the same resamples. Seeds are not resampled: an interval tells how much a
number would move with other studies, not with other training runs.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

_BLOCK_CELLS = 4_000_000  # resamples times studies held at once: 32 MB of float64


def resampled_means(
    values_NK: NDArray[np.float64], *, samples: int, rng: Generator
) -> Iterator[NDArray[np.float64]]:
    """Average per-study numbers over bootstrap resamples of the studies.

    Args:
        values_NK: (N, K) float64, one row for each study.
        samples: Resamples B.
        rng: Draws N studies with replacement, B times.

    Yields:
        Blocks (b, K) float64 of means; the b of all blocks add up to B.
    """
    count = len(values_NK)
    for size in _block_sizes(samples, count):
        drawn = rng.integers(0, count, size=(size, count))
        cells = drawn + count * np.arange(size)[:, None]
        times = np.bincount(cells.ravel(), minlength=size * count).reshape(size, count)
        yield times @ values_NK / count


def swapped_means(
    a_NK: NDArray[np.float64], b_NK: NDArray[np.float64], *, samples: int, rng: Generator
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Average per-study numbers of two systems after exchanging them at random in half the studies.

    Args:
        a_NK: (N, K) float64 of one system.
        b_NK: (N, K) float64 of the other, for the same studies in the same order.
        samples: Random exchanges.
        rng: Flips a fair coin for every study of every exchange.

    Yields:
        Blocks of two (b, K) float64: the means of both sides after the exchange.
    """
    count = len(a_NK)
    mean_a, mean_b = a_NK.mean(axis=0), b_NK.mean(axis=0)
    for size in _block_sizes(samples, count):
        is_swapped = rng.integers(0, 2, size=(size, count)).astype(np.float64)
        moved = is_swapped @ (b_NK - a_NK) / count
        yield mean_a + moved, mean_b - moved


def percentile_interval(values_B: NDArray[np.float64], *, confidence: float) -> tuple[float, float]:
    """Return the ends of the central interval.

    Args:
        values_B: (B,) float64, one value for each resample.
        confidence: Share of the values inside.

    Returns:
        The (1 - confidence) / 2 and (1 + confidence) / 2 quantiles, linearly interpolated.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(values_B, [tail, 1 - tail])
    return float(low), float(high)


def permutation_p(difference: float, null_differences_P: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of a difference.

    Args:
        difference: The observed difference.
        null_differences_P: (P,) float64, the differences after random exchanges.

    Returns:
        (1 + how many are at least as large in magnitude) / (1 + P), so never 0.

    Source: Phipson and Smyth, 2010, "Permutation P-values should never be zero".
    """
    # An exchange that gives the observed split again may differ from it by rounding.
    reached = np.abs(null_differences_P) >= abs(difference) - 1e-12
    return float((1 + np.count_nonzero(reached)) / (1 + len(null_differences_P)))


def _block_sizes(samples: int, count: int) -> Iterator[int]:
    """Cut `samples` into blocks that fit in memory."""
    size = max(1, math.floor(_BLOCK_CELLS / count))
    for start in range(0, samples, size):
        yield min(size, samples - start)
