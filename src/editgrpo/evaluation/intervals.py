"""From resampled values to the ends of intervals: over seeds and patients, and over patients alone.

Two questions are told apart. *How far would this number move with other patients?* is about the
runs at hand. *How far would it move with other trainings of the same method too?* is about the
method, and needs several seeds.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from editgrpo.evaluation.bootstrap import percentile_interval
from editgrpo.evaluation.types import EvaluationOptions
from editgrpo.metrics.metric import Means, Metric


class Ends(NamedTuple):
    """The ends of two intervals; None where there is a single patient."""

    low: float | None
    high: float | None
    runs_low: float | None
    runs_high: float | None


def interval_ends(
    claims_B: NDArray[np.float64],
    runs_B: NDArray[np.float64],
    *,
    units: int,
    options: EvaluationOptions,
    name: str,
) -> Ends:
    """Return both intervals of a number.

    Args:
        claims_B: (B,) values with seeds and patients resampled.
        runs_B: (B,) values with patients resampled, the seeds being those that were run.
        units: Patients. A single one is the same in every resample, which says nothing.
        options: Confidence.
        name: Of the metric, for messages.

    Returns:
        The ends.

    Raises:
        RewardError: a resample has no value.
    """
    if units == 1:
        return Ends(None, None, None, None)
    claim, runs = (
        percentile_interval(values, confidence=options.confidence, name=name)
        for values in (claims_B, runs_B)
    )
    return Ends(*claim, *runs)


def metric_values(
    metrics: Sequence[Metric], blocks: Iterable[Means]
) -> dict[str, NDArray[np.float64]]:
    """Compute metrics of blocks of resampled means.

    Args:
        metrics: K metrics.
        blocks: Means of shape (b, S, ...), a row for each resample.

    Returns:
        For each metric the (B, S) values of all blocks.
    """
    drawn: dict[str, list[NDArray[np.float64]]] = {metric.name: [] for metric in metrics}
    for means in blocks:
        for metric in metrics:
            drawn[metric.name].append(metric.formula(means))
    return {name: np.concatenate(values) for name, values in drawn.items()}
