"""Agreement of the 14 CheXpert labels of two reports.

The per-report value that training optimises. Corpus F1 over a test set is not its mean and lives in
`metrics/label_metrics.py`.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from editgrpo.metrics.check import read_labels, require_same_shape
from editgrpo.reports.types import Labeler

Labels = NDArray[np.uint8]


def label_f1(candidates_NF: Labels, references_NF: Labels) -> NDArray[np.float64]:
    """Compute micro-F1 over the findings of each report by itself.

    Args:
        candidates_NF: (N, F) uint8, 1 where a finding is positive or uncertain, else 0.
        references_NF: (N, F) uint8, the same for the reference reports.

    Returns:
        (N,) float64 in [0, 1]: 2 TP / (2 TP + FP + FN) of row n; 0 where both rows are all zero.

    Raises:
        RewardError: the shapes differ.

    Source: the CheXbert reward of EditGRPO (arXiv:2509.22812), docs/metrics.md.
    """
    require_same_shape(candidates_NF, references_NF)
    candidate_positive = candidates_NF.astype(bool)
    reference_positive = references_NF.astype(bool)
    true_positive_N = (candidate_positive & reference_positive).sum(axis=1, dtype=np.float64)
    # 2 TP + FP + FN is the number of positives on both sides together.
    positive_N = candidate_positive.sum(axis=1) + reference_positive.sum(axis=1)
    return np.asarray(2 * true_positive_N / np.maximum(positive_N, 1), dtype=np.float64)


class LabelComponent:
    """A metric of the 14 CheXpert labels of one candidate and one reference.

    Attributes:
        name: `<labeler>/<metric>`.

    Args:
        labeler: Assigns the 14 findings to a text.
        metric: Name of the metric.
        score: Takes (N, 14) labels of candidates and of references, returns (N,) float64.
    """

    def __init__(
        self,
        labeler: Labeler,
        metric: str,
        score: Callable[[Labels, Labels], NDArray[np.float64]],
    ) -> None:
        self.name = f"{labeler.name}/{metric}"
        self._labeler = labeler
        self._score = score

    def read(self, texts: Sequence[str]) -> list[Labels]:
        """Return the (14,) labels of each text."""
        return list(read_labels(self._labeler, texts))

    def compare(
        self, candidates: Sequence[Labels], references: Sequence[Labels]
    ) -> NDArray[np.float64]:
        """Return the (N,) scores of N pairs."""
        return self._score(np.stack(candidates), np.stack(references))


class LabelF1(LabelComponent):
    """Micro-F1 of the 14 CheXpert findings, one report at a time.

    Attributes:
        name: `<labeler>/report-micro-f1-14`.

    Args:
        labeler: Assigns the 14 findings to a text.
    """

    def __init__(self, labeler: Labeler) -> None:
        super().__init__(labeler, "report-micro-f1-14", label_f1)
