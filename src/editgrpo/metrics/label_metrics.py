"""Corpus F1 and balanced accuracy over findings, from counts averaged over studies.

All functions take counts with any leading axes (resamples, seeds) and the findings last. Those of
F1 are indifferent to a common factor: means over studies serve as well as sums.
"""

import numpy as np
from numpy.typing import NDArray

from editgrpo.metrics.check import require_same_shape

Counts = NDArray[np.float64]


def study_counts(candidates_NF: NDArray[np.uint8], references_NF: NDArray[np.uint8]) -> Counts:
    """Mark for each study and finding whether it is a true positive, false positive or miss.

    Args:
        candidates_NF: (N, F) uint8, 1 where a finding is positive or uncertain, else 0.
        references_NF: (N, F) uint8, the same for the references.

    Returns:
        (N, 3, F) float64 of 0 and 1: TP, FP, FN.

    Raises:
        RewardError: the shapes differ.
    """
    require_same_shape(candidates_NF, references_NF)
    candidate, reference = candidates_NF.astype(bool), references_NF.astype(bool)
    parts = (candidate & reference, candidate & ~reference, ~candidate & reference)
    return np.stack([part.astype(np.float64) for part in parts], axis=1)


def finding_f1(counts: Counts) -> NDArray[np.float64]:
    """Compute the F1 of each finding.

    Args:
        counts: (..., 3, F) TP, FP, FN.

    Returns:
        (..., F) float64: 2 TP / (2 TP + FP + FN), 0 where that is 0 / 0.
    """
    true_positive, false_positive, false_negative = np.moveaxis(counts, -2, 0)
    return safe_ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative)


def micro_f1(counts: Counts) -> NDArray[np.float64]:
    """Compute F1 over all findings together: (..., 3, F) to (...), 0 where that is 0 / 0."""
    return np.asarray(finding_f1(counts.sum(axis=-1, keepdims=True))[..., 0])


def macro_f1(counts: Counts) -> NDArray[np.float64]:
    """Compute the mean of the findings' F1: (..., 3, F) to (...).

    A finding with neither support nor prediction counts as 0.
    """
    return np.asarray(finding_f1(counts).mean(axis=-1), dtype=np.float64)


def balanced_accuracy(counts: Counts) -> NDArray[np.float64]:
    """Compute the mean over findings of (sensitivity + specificity) / 2.

    Args:
        counts: (..., 3, F) TP, FP and FN as *shares* of the studies: the true negatives are the
            rest up to 1.

    Returns:
        (...) float64 in [0, 1]; findings that all or none of the references have are left out, as
        one of their two rates is not defined; 0 if that leaves none.
    """
    true_positive, false_positive, false_negative = np.moveaxis(counts, -2, 0)
    positive = true_positive + false_negative
    # A sum of shares may miss 0 or 1 by rounding; no test set has a thousand million studies.
    is_defined = (positive > 1e-9) & (positive < 1 - 1e-9)
    sensitivity = safe_ratio(true_positive, positive)
    specificity = 1 - safe_ratio(false_positive, 1 - positive)
    rates = np.where(is_defined, (sensitivity + specificity) / 2, 0.0)
    return safe_ratio(rates.sum(axis=-1), is_defined.sum(axis=-1).astype(np.float64))


def safe_ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Divide elementwise; 0 where the denominator is 0.

    Args:
        numerator: Any shape.
        denominator: The same shape, 0 or more.

    Returns:
        float64 of that shape.
    """
    out = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
