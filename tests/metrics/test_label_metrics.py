"""Corpus F1 by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from editgrpo.metrics.label_metrics import finding_f1, macro_f1, micro_f1, study_counts


def test_corpus_f1_by_hand() -> None:
    candidates = np.array([[1, 0, 0], [1, 1, 0]], dtype=np.uint8)
    references = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.uint8)
    counts = study_counts(candidates, references).sum(axis=0)
    assert counts.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0]]  # TP, FP, FN
    # Finding 0: 2/(2+1) = 2/3. Finding 1: 1. Finding 2: no support, no prediction: 0.
    assert finding_f1(counts) == pytest.approx([2 / 3, 1.0, 0.0])
    assert micro_f1(counts) == pytest.approx(4 / 5)  # 2*2 / (2*2 + 1 + 0)
    assert macro_f1(counts) == pytest.approx(5 / 9)


def test_corpus_micro_is_not_the_mean_of_reports() -> None:
    candidates = np.array([[1, 0, 0], [1, 1, 0]], dtype=np.uint8)
    references = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.uint8)
    per_report = micro_f1(study_counts(candidates, references))
    assert per_report == pytest.approx([1.0, 2 / 3])  # mean 5/6, not 4/5


@pytest.mark.parametrize(
    ("average", "ours"), [("micro", micro_f1), ("macro", macro_f1), (None, finding_f1)]
)
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_corpus_f1_equals_scikit_learn(average: str | None, ours: object, share: float) -> None:
    assert callable(ours)
    rng = np.random.default_rng(1)
    candidates, references = (rng.random((2, 80, 14)) < share).astype(np.uint8)
    expected = f1_score(references, candidates, average=average, zero_division=0)
    # A mean serves as well as a sum: the factor 1/N cancels.
    counts = study_counts(candidates, references).mean(axis=0)
    np.testing.assert_allclose(ours(counts), expected, rtol=1e-12)


def test_leading_axes_are_kept() -> None:
    counts = np.random.default_rng(2).integers(0, 5, (4, 2, 3, 14)).astype(float)
    assert micro_f1(counts).shape == (4, 2)
    assert macro_f1(counts)[3, 1] == pytest.approx(macro_f1(counts[3, 1]))
