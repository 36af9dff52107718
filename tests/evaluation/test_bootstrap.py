"""Resampling against what statistics says of a mean, and p-values counted by hand."""

import itertools

import numpy as np
import pytest

from editgrpo.evaluation import bootstrap
from editgrpo.evaluation.bootstrap import (
    percentile_interval,
    permutation_p,
    resampled_means,
    swapped_means,
)


def all_means(values: np.ndarray, samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate(list(resampled_means(values, samples=samples, rng=rng)))


def test_resampled_means_have_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(5).normal(size=(40, 2))
    means = all_means(values, 20_000)
    assert means.shape == (20_000, 2)
    # 20,000 resamples: the standard error of these estimates is below 1 % of the spread.
    expected = values.std(axis=0) / np.sqrt(40)
    np.testing.assert_allclose(means.std(axis=0), expected, rtol=0.03)
    np.testing.assert_allclose(means.mean(axis=0), values.mean(axis=0), atol=4e-3)


def test_each_resample_draws_as_many_studies_as_there_are() -> None:
    values = np.column_stack([np.ones(7), np.arange(7.0)])
    means = all_means(values, 50)
    np.testing.assert_allclose(means[:, 0], 1.0, rtol=1e-12)
    assert np.allclose(means[:, 1] * 7, np.round(means[:, 1] * 7))  # sums of whole numbers


def test_blocks_do_not_change_the_count_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_BLOCK_CELLS", 30)
    assert all_means(np.ones((10, 1)), 7).shape == (7, 1)  # blocks of 3, 3, 1


def test_one_study_has_an_interval_of_width_zero() -> None:
    assert set(all_means(np.array([[0.25]]), 20).ravel()) == {0.25}


def test_percentile_interval_by_hand() -> None:
    # Quantiles .1 and .9 of 0..10 are 1 and 9.
    assert percentile_interval(np.arange(11.0), confidence=0.8) == pytest.approx((1.0, 9.0))


@pytest.mark.parametrize(
    ("difference", "null", "expected"),
    [
        (0.5, [0.1, -0.5, 0.6, 0.0], 3 / 5),  # two reach it in magnitude: (1 + 2) / (1 + 4)
        (-0.5, [0.1, -0.5, 0.6, 0.0], 3 / 5),
        (1.0, [0.0] * 9, 1 / 10),
        (0.0, [0.0] * 9, 1.0),
    ],
)
def test_permutation_p_by_hand(difference: float, null: list[float], expected: float) -> None:
    assert permutation_p(difference, np.array(null)) == pytest.approx(expected)


def test_random_exchanges_approach_the_exact_test() -> None:
    a = np.array([[0.9], [0.8], [0.4], [0.7], [0.6]])
    b = np.array([[0.5], [0.6], [0.5], [0.3], [0.2]])
    gains = (a - b).ravel()
    # All 2^5 exchanges, written out: the exact two-sided p.
    signs = np.array(list(itertools.product([1, -1], repeat=5)))
    exact = np.mean(np.abs((signs * gains).mean(axis=1)) >= abs(gains.mean()) - 1e-12)
    rng = np.random.default_rng(0)
    null = np.concatenate(
        [left - right for left, right in swapped_means(a, b, samples=20_000, rng=rng)]
    ).ravel()
    # Standard error of a share near .1 over 20,000 draws: .002.
    assert permutation_p(gains.mean(), null) == pytest.approx(exact, abs=0.01)


def test_exchanges_keep_the_sum_of_both_sides() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 12, 3))
    for left, right in swapped_means(a, b, samples=9, rng=np.random.default_rng(0)):
        np.testing.assert_allclose(left + right, np.tile(a.mean(0) + b.mean(0), (9, 1)))
