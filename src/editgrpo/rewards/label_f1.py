"""Agreement of the 14 CheXpert labels of two reports.

The per-report value that training optimises. Corpus F1 over a test set is not its mean and lives in
`evaluation/label_metrics.py`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from editgrpo.reports.types import Labeler


def label_f1(
    candidates_NF: NDArray[np.uint8], references_NF: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Compute micro-F1 over the findings of each report by itself.

    Args:
        candidates_NF: (N, F) uint8, 1 where a finding is positive or uncertain, else 0.
        references_NF: (N, F) uint8, the same for the reference reports.

    Returns:
        (N,) float64 in [0, 1]: 2 TP / (2 TP + FP + FN) of row n; 0 where both rows are all zero.

    Source: the CheXbert reward of EditGRPO (arXiv:2509.22812), docs/evaluation.md.
    """
    candidate_positive = candidates_NF.astype(bool)
    reference_positive = references_NF.astype(bool)
    true_positive_N = (candidate_positive & reference_positive).sum(axis=1, dtype=np.float64)
    # 2 TP + FP + FN is the number of positives on both sides together.
    positive_N = candidate_positive.sum(axis=1) + reference_positive.sum(axis=1)
    return np.asarray(2 * true_positive_N / np.maximum(positive_N, 1), dtype=np.float64)


class LabelF1:
    """Micro-F1 of the 14 CheXpert findings, one report at a time.

    Attributes:
        name: `label/micro-f1-14@<labeler>`.
    """

    def __init__(self, labeler: Labeler) -> None:
        """Keep the labeler.

        Args:
            labeler: Assigns the 14 findings to a text.
        """
        self.name = f"label/micro-f1-14@{labeler.name}"
        self._labeler = labeler

    def read(self, texts: Sequence[str]) -> list[NDArray[np.uint8]]:
        """Return the (14,) labels of each text."""
        return list(self._labeler.label(texts))

    def compare(
        self, candidates: Sequence[NDArray[np.uint8]], references: Sequence[NDArray[np.uint8]]
    ) -> NDArray[np.float64]:
        """Return the (N,) scores of N pairs."""
        return label_f1(np.stack(candidates), np.stack(references))
