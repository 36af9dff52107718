"""Per-report micro-F1: the four values that metrics.md states, and scikit-learn as a reference."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from editgrpo.metrics.label_f1 import LabelF1, label_f1
from editgrpo.reports.chexpert import FINDINGS, NO_FINDING_INDEX
from tests.rewards.fakes import FakeLabeler


def row(*indices: int) -> list[int]:
    return [int(index in indices) for index in range(len(FINDINGS))]


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        (row(), row(), 0.0),  # both all zero: 0 by definition
        (row(NO_FINDING_INDEX), row(NO_FINDING_INDEX), 1.0),  # 2*1 / (1+1)
        (row(1), row(NO_FINDING_INDEX), 0.0),  # cardiomegaly vs No Finding: TP 0
        (row(1), row(1, 4, 9), 0.5),  # 1 of 3 findings: 2*1 / (1+3)
        (row(1, 2), row(1, 4, 9), 0.4),  # TP 1, FP 1, FN 2: 2 / 5
        (row(), row(1), 0.0),
    ],
)
def test_label_f1_of_one_report(
    candidate: list[int], reference: list[int], expected: float
) -> None:
    scores = label_f1(np.array([candidate], dtype=np.uint8), np.array([reference], dtype=np.uint8))
    assert scores.dtype == np.float64
    assert scores.tolist() == [pytest.approx(expected)]


def test_label_f1_equals_sample_average_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    candidates, references = rng.integers(0, 2, (2, 50, 14)).astype(np.uint8)
    reference = f1_score(references, candidates, average="samples", zero_division=0)
    assert label_f1(candidates, references).mean() == pytest.approx(reference, rel=1e-12)


def test_component_names_its_labeler_and_ignores_repetition() -> None:
    metric = LabelF1(FakeLabeler())
    assert metric.name == "fake/report-micro-f1-14"
    once, thrice, reference = metric.read(
        ["cardiomegaly. fracture.", "cardiomegaly. " * 3 + "fracture.", "cardiomegaly."]
    )
    # TP 1, FP 1: 2 / 3, however often the sentence stands there.
    assert metric.compare([once, thrice], [reference] * 2) == pytest.approx([2 / 3, 2 / 3])
