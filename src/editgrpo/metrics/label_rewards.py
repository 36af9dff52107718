"""Two more ways to pay for the 14 CheXpert labels of one report: balanced accuracy, and an F1 in
which a rare finding weighs more.

Both are ablations of EditGRPO's reward; the paper gives no formula, so the definitions here are
ours.
"""

import numpy as np
from numpy.typing import NDArray

from editgrpo.errors import ConfigError
from editgrpo.metrics.check import require_same_shape
from editgrpo.metrics.class_rates import ClassRates
from editgrpo.metrics.label_f1 import LabelComponent, Labels
from editgrpo.reports.types import Labeler


def balanced_accuracy(candidates_NF: Labels, references_NF: Labels) -> NDArray[np.float64]:
    """Compute balanced accuracy over the findings of each report by itself.

    Args:
        candidates_NF: (N, F) uint8, 1 where a finding is positive or uncertain, else 0; F at least
            1.
        references_NF: (N, F) uint8, the same for the reference reports.

    Returns:
        (N,) float64 in [0, 1], the mean of sensitivity TP / (TP + FN) and specificity
        TN / (TN + FP) of row n. Where the reference has no finding only specificity is defined and
        is the value; where it has all of them, only sensitivity. Chance, and a candidate without
        any finding, is at 1/2, not at 0.

    Raises:
        RewardError: the shapes differ.
    """
    require_same_shape(candidates_NF, references_NF)
    agrees_NF = candidates_NF.astype(bool) == references_NF.astype(bool)
    is_positive_NF = references_NF.astype(bool)
    sides_2N = np.stack(
        [_mean_where(agrees_NF, is_positive_NF), _mean_where(agrees_NF, ~is_positive_NF)]
    )
    # At least one side is defined: every finding is on one of them.
    return np.asarray(np.nanmean(sides_2N, axis=0), dtype=np.float64)


def weighted_label_f1(
    candidates_NF: Labels, references_NF: Labels, weights_F: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute micro-F1 over the findings of each report, each finding with a weight.

    Args:
        candidates_NF: (N, F) uint8, 1 where a finding is positive or uncertain, else 0.
        references_NF: (N, F) uint8, the same for the reference reports.
        weights_F: (F,) float64, above 0; a common factor changes nothing.

    Returns:
        (N,) float64 in [0, 1]: 2 TP / (2 TP + FP + FN) with every finding counted `weight` times;
        0 where both rows are all zero. Equal weights give `label_f1`.

    Raises:
        RewardError: the shapes differ.
    """
    require_same_shape(candidates_NF, references_NF)
    candidate_positive = candidates_NF.astype(bool)
    reference_positive = references_NF.astype(bool)
    true_positive_N = (candidate_positive & reference_positive) @ weights_F
    positive_N = candidate_positive @ weights_F + reference_positive @ weights_F
    return np.asarray(2 * true_positive_N / np.where(positive_N == 0, 1.0, positive_N))


class LabelBalancedAccuracy(LabelComponent):
    """Balanced accuracy of the 14 CheXpert findings, one report at a time.

    Attributes:
        name: `<labeler>/report-balanced-accuracy-14`.

    Args:
        labeler: Assigns the 14 findings to a text.
    """

    def __init__(self, labeler: Labeler) -> None:
        super().__init__(labeler, "report-balanced-accuracy-14", balanced_accuracy)


class LabelInverseFrequency(LabelComponent):
    """Micro-F1 in which each of the 14 findings weighs 1 / (its rate in the training set).

    A hit of a rare finding pays more, and so does missing or inventing one cost more.

    Attributes:
        name: `<labeler>/report-inverse-frequency-14`.

    Args:
        labeler: Assigns the 14 findings to a text.
        rates: Rates that the same labeler counted.

    Raises:
        ConfigError: another labeler counted the rates.
    """

    def __init__(self, labeler: Labeler, rates: ClassRates) -> None:
        counted_by = rates.labeler.partition("@")[0]
        if counted_by != labeler.name:
            raise ConfigError(
                f"the class rates were counted by labeler {counted_by!r}, but the reward labels "
                f"with {labeler.name!r}; count them with {labeler.name!r}"
            )
        weights_F = rates.weights()
        super().__init__(
            labeler,
            "report-inverse-frequency-14",
            lambda candidates_NF, references_NF: weighted_label_f1(
                candidates_NF, references_NF, weights_F
            ),
        )


def _mean_where(values_NF: NDArray[np.bool_], where_NF: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the (N,) means of each row over the places where `where_NF` is True; NaN for none."""
    count_N = where_NF.sum(axis=1)
    total_N = (values_NF & where_NF).sum(axis=1).astype(np.float64)
    return np.where(count_N > 0, total_N / np.maximum(count_N, 1), np.nan)
