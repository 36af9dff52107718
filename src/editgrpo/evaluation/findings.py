"""The scores of single findings over a test set, and which findings are rare in it."""

import numpy as np
from numpy.typing import NDArray

from editgrpo.evaluation.types import EvaluationOptions, FindingScore
from editgrpo.metrics.label_metrics import finding_f1, safe_ratio
from editgrpo.reports.chexpert import FINDINGS, NO_FINDING_INDEX


def finding_scores(counts_S3F: NDArray[np.float64]) -> dict[str, FindingScore]:
    """Score each finding.

    Args:
        counts_S3F: (S, 3, F) true positives, false positives and misses of each seed.

    Returns:
        Finding to its scores, means over the seeds, in CheXpert's order.
    """
    true_positive, false_positive, false_negative = np.moveaxis(counts_S3F, 1, 0)
    f1 = finding_f1(counts_S3F).mean(axis=0)
    precision = safe_ratio(true_positive, true_positive + false_positive).mean(axis=0)
    recall = safe_ratio(true_positive, true_positive + false_negative).mean(axis=0)
    support = (true_positive + false_negative)[0]
    predicted = (true_positive + false_positive).mean(axis=0)
    return {
        finding: FindingScore(
            f1=float(f1[k]),
            precision=float(precision[k]),
            recall=float(recall[k]),
            support=round(support[k]),
            predicted=round(float(predicted[k]), 6),
        )
        for k, finding in enumerate(FINDINGS)
    }


def rare_findings(
    counts_3F: NDArray[np.float64], options: EvaluationOptions, *, count: int
) -> tuple[str, ...]:
    """Return the rare findings by the references; No Finding is never one of them.

    Args:
        counts_3F: (3, F) true positives, false positives and misses.
        options: Names them, or says below which share a finding is rare.
        count: Studies.

    Returns:
        Their names, in CheXpert's order.
    """
    if options.rare_findings is not None:
        return options.rare_findings
    true_positive, _, false_negative = counts_3F
    support = np.rint(true_positive + false_negative)
    return tuple(
        finding
        for k, finding in enumerate(FINDINGS)
        if k != NO_FINDING_INDEX and 0 < support[k] < options.rare_share * count
    )
