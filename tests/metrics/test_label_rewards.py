"""Balanced accuracy and the inverse-frequency F1 of one report: by hand, by property, and
scikit-learn as a reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from editgrpo.errors import ConfigError
from editgrpo.metrics.class_rates import ClassRates
from editgrpo.metrics.label_f1 import label_f1
from editgrpo.metrics.label_rewards import (
    LabelBalancedAccuracy,
    LabelInverseFrequency,
    balanced_accuracy,
    weighted_label_f1,
)
from editgrpo.reports.chexpert import FINDINGS
from tests.rewards.fakes import FakeLabeler

CARDIOMEGALY, FRACTURE = FINDINGS.index("Cardiomegaly"), FINDINGS.index("Fracture")


def rows(*indices: int) -> NDArray[np.uint8]:
    return np.array([[index in indices for index in range(len(FINDINGS))]], dtype=np.uint8)


def rates(labeler: str = "fake") -> ClassRates:
    """Cardiomegaly in half of the reports, every other finding in a tenth."""
    shares = dict.fromkeys(FINDINGS, 0.1) | {"Cardiomegaly": 0.5}
    return ClassRates(labeler=labeler, n=10, rates=shares)


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        (rows(1, 4), rows(1, 4), 1.0),
        (rows(1), rows(1, 4), 0.75),  # sensitivity 1/2, specificity 12/12
        (rows(1, 2, 3), rows(1, 4), (1 / 2 + 10 / 12) / 2),
        (rows(), rows(1), 0.5),  # sensitivity 0, specificity 1: silence is at chance
        (rows(), rows(), 1.0),  # no finding in the reference: specificity alone
        (rows(2, 3), rows(), 12 / 14),
        (rows(*range(7)), rows(*range(14)), 0.5),  # every finding: sensitivity alone
    ],
)
def test_balanced_accuracy_of_one_report(
    candidate: NDArray[np.uint8], reference: NDArray[np.uint8], expected: float
) -> None:
    assert balanced_accuracy(candidate, reference) == pytest.approx([expected])


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_balanced_accuracy_equals_scikit_learn_on_every_report() -> None:
    rng = np.random.default_rng(0)
    candidates = rng.integers(0, 2, (50, 14)).astype(np.uint8)
    references = (rng.random((50, 14)) < np.linspace(0, 1, 50)[:, None]).astype(np.uint8)
    expected = [balanced_accuracy_score(*pair) for pair in zip(references, candidates, strict=True)]
    assert balanced_accuracy(candidates, references) == pytest.approx(expected, rel=1e-12)


def test_a_rare_finding_pays_more() -> None:
    score = LabelInverseFrequency(FakeLabeler(), rates()).compare
    [reference] = rows(CARDIOMEGALY, FRACTURE)
    [common], [rare] = rows(CARDIOMEGALY), rows(FRACTURE)
    # Weights 2 (1/0.5) and 10 (1/0.1). Hitting the common one: 2*2 / (2+12); the rare one:
    # 2*10 / (10+12).
    assert score([common, rare], [reference] * 2) == pytest.approx([4 / 14, 20 / 22])


def test_an_invented_rare_finding_costs_more() -> None:
    score = LabelInverseFrequency(FakeLabeler(), rates()).compare
    [both], [common], [rare] = rows(CARDIOMEGALY, FRACTURE), rows(CARDIOMEGALY), rows(FRACTURE)
    assert score([both, both], [common, rare]) == pytest.approx([4 / 14, 20 / 22])


@given(seed=st.integers(0, 2**32 - 1), weight=st.floats(1e-3, 1e3))
def test_equal_weights_give_the_plain_f1(seed: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    candidates, references = (rng.random((2, 8, 14)) < 0.2).astype(np.uint8)
    weighted = weighted_label_f1(candidates, references, np.full(14, weight))
    assert weighted == pytest.approx(label_f1(candidates, references))


@given(seed=st.integers(0, 2**32 - 1))
def test_weighted_f1_is_a_share_and_one_only_for_equal_findings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    candidates, references = (rng.random((2, 20, 14)) < 0.1).astype(np.uint8)
    weights_F = rng.random(14) + 0.01
    scores = weighted_label_f1(candidates, references, weights_F)
    assert ((scores >= 0) & (scores <= 1 + 1e-12)).all()
    is_equal = (candidates == references).all(axis=1) & references.any(axis=1)
    assert ((scores > 1 - 1e-12) == is_equal).all()


def test_all_zero_on_both_sides_is_zero() -> None:
    assert weighted_label_f1(rows(), rows(), rates().weights()).tolist() == [0.0]


def test_components_carry_labeler_and_metric_in_their_names() -> None:
    assert LabelBalancedAccuracy(FakeLabeler()).name == "fake/report-balanced-accuracy-14"
    metric = LabelInverseFrequency(FakeLabeler(), rates("fake@0123"))
    assert metric.name == "fake/report-inverse-frequency-14"


def test_rates_of_another_labeler_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"counted by labeler 'chexbert'.*with 'fake'"):
        LabelInverseFrequency(FakeLabeler(), rates("chexbert@0123"))
