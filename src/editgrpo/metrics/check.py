"""What comes back from a component or labeler is checked before anything is summed.

NumPy stretches a score of length 1 over all reports, and a row of labels over all rows, without a
word: a scorer that loses reports would pay the rest with another report's score.
"""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from editgrpo.errors import RewardError
from editgrpo.metrics.component import Component
from editgrpo.reports import Labeler
from editgrpo.reports.chexpert import FINDINGS, LabelClass

Facts = TypeVar("Facts")


def score_each(name: str, scores: Any, count: int) -> NDArray[np.float64]:
    """Check that there is one number for each report.

    Args:
        name: The component that gave the scores.
        scores: What it gave; NaN and infinities are for `require_finite`.
        count: Reports that it was given.

    Returns:
        (count,) float64.

    Raises:
        RewardError: the scores are no sequence of numbers, are of another shape or length, or one
            of them is None; the message names the component and both lengths, and holds no score.
    """
    try:
        values = np.asarray(scores)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged, or on another device
        raise RewardError(
            f"{name}: gave a {type(scores).__name__} that is no array of numbers for {count} "
            "reports; return one number a report"
        ) from error
    if values.ndim != 1:
        what = f"an array of shape {values.shape}" if values.ndim else f"one {_kind(scores)}"
        raise RewardError(f"{name}: gave {what} for {count} reports; return one number a report")
    if len(values) != count:
        raise RewardError(
            f"{name}: gave {len(values)} scores for {count} reports; return one number a report"
        )
    if values.dtype.kind not in "biuf":
        wrong = next((k for k, one in enumerate(values) if not isinstance(one, Real)), None)
        if wrong is not None:
            raise RewardError(
                f"{name}: the score at index {wrong} is a {_kind(values[wrong])}; return a number, "
                "or raise RewardError where there is none"
            )
    return np.asarray(values, dtype=np.float64)


def require_finite(name: str, scores_N: NDArray[np.float64]) -> None:
    """Raise RewardError for the first score that is NaN or infinite."""
    wrong = np.flatnonzero(~np.isfinite(scores_N))
    if len(wrong):
        raise RewardError(
            f"{name}: the score at index {wrong[0]} is {scores_N[wrong[0]]}; "
            "check the annotator's embeddings and labels for that report"
        )


def checked_read(component: Component[Facts]) -> Callable[[Sequence[str]], Sequence[Facts]]:
    """Wrap the `read` of a component, which must give one reading for each text.

    Args:
        component: What reads.

    Returns:
        The same function; it raises RewardError, which names both numbers, where there are more
        readings or fewer.
    """

    def read(texts: Sequence[str]) -> Sequence[Facts]:
        facts = component.read(texts)
        if len(facts) != len(texts):
            raise RewardError(
                f"{component.name}: gave {len(facts)} readings of {len(texts)} texts; return one "
                "for each text, in order"
            )
        return facts

    return read


def score_pairs(
    component: Component[Facts], candidates: Sequence[Facts], references: Sequence[Facts]
) -> NDArray[np.float64]:
    """Compare N pairs, N at least 1, and check that there is a score for each; see `score_each`."""
    return score_each(component.name, component.compare(candidates, references), len(candidates))


def read_labels(labeler: Labeler, texts: Sequence[str]) -> NDArray[np.uint8]:
    """Label reports, and check what the labeler gave.

    Args:
        labeler: Says which findings a report names.
        texts: N reports.

    Returns:
        (N, 14) uint8.

    Raises:
        RewardError: the labels are of another shape, or a value is no label.
    """
    return label_rows(labeler.name, labeler.label(texts), len(texts))


def label_rows(
    name: str, labels: Any, count: int, *, highest: int = LabelClass.POSITIVE
) -> NDArray[np.uint8]:
    """Check that there is a row of labels for each report.

    Args:
        name: The labeler that gave the labels.
        labels: What it gave.
        count: Reports that it was given.
        highest: Largest value of a label: 1 for labels, 3 for classes.

    Returns:
        (count, 14) uint8.

    Raises:
        RewardError: the shape is another, or a value is no label.
    """
    values = np.asarray(labels)
    if values.shape != (count, len(FINDINGS)):
        raise RewardError(
            f"labeler {name}: gave labels of shape {values.shape} for {count} reports; return "
            f"({count}, {len(FINDINGS)})"
        )
    if not np.isin(values, np.arange(highest + 1)).all():
        raise RewardError(
            f"labeler {name}: gave a label that is no whole number from 0 to {highest}"
        )
    return np.asarray(values, dtype=np.uint8)


def require_same_shape(candidates_NF: NDArray[Any], references_NF: NDArray[Any]) -> None:
    """Raise RewardError unless two matrices of labels have one shape, (N, F)."""
    if candidates_NF.ndim != 2 or candidates_NF.shape != references_NF.shape:
        raise RewardError(
            f"labels of candidates have shape {candidates_NF.shape}, those of references "
            f"{references_NF.shape}; give one row for each report on both sides"
        )


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
