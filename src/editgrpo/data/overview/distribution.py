"""A distribution of whole numbers: how long texts are, how many images studies have."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """What is known of at least one whole number.

    Attributes:
        count: How many numbers.
        mean: Their mean.
        sd: Their standard deviation as they are, divided by `count`: no sample of anything larger.
        minimum: The smallest.
        median: The middle one; between the two middle ones of an even count.
        p95: The smallest number that at least 95 % do not exceed.
        maximum: The largest.
        frequencies: How often each number occurs, ascending.
    """

    count: int
    mean: float
    sd: float
    minimum: int
    median: float
    p95: int
    maximum: int
    frequencies: Mapping[int, int]

    @classmethod
    def of(cls, numbers: NDArray[np.int64]) -> "Distribution | None":
        """Describe numbers.

        Args:
            numbers: (N,) int64, in any order.

        Returns:
            Their distribution; None if there are none.
        """
        if not len(numbers):
            return None
        values, counts = np.unique(numbers, return_counts=True)
        frequencies = dict(zip(values.tolist(), counts.tolist(), strict=True))
        # From the sorted values, so that the order of the numbers does not change the last digits.
        mean = float(values @ counts / len(numbers))
        return cls(
            count=len(numbers),
            mean=mean,
            sd=float(np.sqrt((values - mean) ** 2 @ counts / len(numbers))),
            minimum=int(values[0]),
            median=float(np.median(numbers)),
            p95=_quantile(frequencies, 0.95 * len(numbers)),
            maximum=int(values[-1]),
            frequencies=frequencies,
        )

    def quantile(self, share: float) -> int:
        """Return the smallest number that at least a share of all, in (0, 1], does not exceed."""
        return _quantile(self.frequencies, share * self.count)


def _quantile(frequencies: Mapping[int, int], wanted: float) -> int:
    """Return the smallest number that at least so many do not exceed."""
    below = np.cumsum(list(frequencies.values()))
    return list(frequencies)[int(np.searchsorted(below, wanted))]
