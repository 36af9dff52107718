"""Seeds that were each tested on patients of their own."""

from dataclasses import replace

import numpy as np
import pytest

from editgrpo.errors import DataError
from editgrpo.evaluation.evaluate import pool_seeds
from editgrpo.evaluation.own_test_sets import compare_test_sets, pool_test_sets
from editgrpo.evaluation.tables import comparison_record, metric_rows, scores_record
from editgrpo.evaluation.types import EvaluationOptions
from tests.evaluation.builders import evaluate, random_predictions
from tests.evaluation.test_seeds import VALUE, run

OPTIONS = EvaluationOptions(rare_findings=("Fracture",), samples=100)


def test_values_are_means_over_the_seeds_and_both_intervals_tell_two_questions_apart() -> None:
    # Seeds at 0, 1 and 2 for every patient alike, as in test_seeds.
    runs = [run(np.full(20 + k, float(k))) for k in range(3)]
    pooled = pool_test_sets(runs, system="s")
    estimate = pooled.metrics[VALUE]
    assert (estimate.value, estimate.seed_values) == (1, (0, 1, 2))
    assert (estimate.runs_low, estimate.runs_high) == (1, 1)
    assert (estimate.low, estimate.high) == (0, 2)
    assert (pooled.n_studies, pooled.n_patients) == (63, 63)


def test_the_luck_of_other_patients_averages_out_over_the_seeds() -> None:
    # The same 30 values in all three sets: three sets of 30 patients have intervals of these runs
    # that are narrower by sqrt(3) than one set's; 1,000 resamples give the ends within some 5 %.
    values = np.random.default_rng(0).normal(size=30)
    alone = run(values, samples=2000).metrics[VALUE]
    pooled = pool_test_sets([run(values, samples=2000)] * 3, system="s").metrics[VALUE]
    assert None not in (alone.low, alone.high, pooled.runs_low, pooled.runs_high)
    widths = alone.high - alone.low, pooled.runs_high - pooled.runs_low  # type: ignore[operator]
    assert widths[0] / widths[1] == pytest.approx(3**0.5, rel=0.15)


@pytest.mark.slow
def test_intervals_cover() -> None:
    # Variance of a seed .05 and of a patient 1 over 40 patients: as much from either.
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(150):
        runs = [run(rng.normal() * 0.05**0.5 + rng.normal(size=40), samples=200) for _ in range(4)]
        estimate = pool_test_sets(runs, system="s").metrics[VALUE]
        held += estimate.low <= 0 <= estimate.high  # type: ignore[operator]
    assert 0.9 <= held / 150 <= 1


def test_differences_are_paired_within_each_test_set() -> None:
    starts = [np.random.default_rng(k).normal(size=20) + k for k in range(3)]
    a = pool_test_sets([run(values + 0.1) for values in starts], system="a")
    b = pool_test_sets([run(values) for values in starts], system="b")
    comparison = compare_test_sets(a, b)
    difference = comparison.metrics[VALUE]
    assert difference.seed_differences == pytest.approx((0.1, 0.1, 0.1))
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))
    assert difference.p == pytest.approx(1 / 301)
    assert (comparison.n_studies, comparison.n_patients) == (60, 60)
    same = compare_test_sets(a, a).metrics[VALUE]
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


@pytest.mark.slow
def test_under_the_null_few_p_values_are_small() -> None:
    rng = np.random.default_rng(4)
    small = 0
    for _ in range(150):
        a, b = (
            pool_test_sets([run(rng.normal(size=20), samples=100) for _ in range(2)], system="s")
            for _ in range(2)
        )
        small += compare_test_sets(a, b).metrics[VALUE].p <= 0.05
    assert 0.01 <= small / 150 <= 0.1  # standard error 1.8 %


def test_records_say_that_each_seed_has_its_own_patients() -> None:
    runs = [evaluate(random_predictions(seed), options=OPTIONS) for seed in (1, 2)]
    pooled = pool_test_sets(runs, system="s")
    record = scores_record(pooled)
    assert (record["n_studies"], record["n_seeds"], record["n_test_sets"]) == (120, 2, 2)
    assert record["intervals"].startswith(
        "95 % interval over 2 training seeds, then each seed's own patients, in all 120 studies"
    )
    effusion = [one.per_finding["Pleural Effusion"] for one in runs]
    assert record["per_finding"]["Pleural Effusion"]["support"] == sum(
        one.support for one in effusion
    )
    assert len(metric_rows(record)) == len(runs[0].metrics)
    compared = comparison_record(compare_test_sets(pooled, pooled))
    assert compared["n_test_sets"] == 2
    assert compared["n_seeds"] == {"a": 2, "b": 2}


@pytest.mark.slow
def test_what_cannot_be_pooled_or_compared_is_refused() -> None:
    one, other = (evaluate(random_predictions(seed), options=OPTIONS) for seed in (1, 2))
    with pytest.raises(DataError, match="s: 1 seeds; give the evaluations of two at least"):
        pool_test_sets([one], system="s")
    with pytest.raises(DataError, match="a run pools 2 seeds; give one run a seed"):
        pool_test_sets([one, pool_seeds([one, other], system="p")], system="s")
    rare = evaluate(random_predictions(1), options=replace(OPTIONS, rare_findings=("Edema",)))
    with pytest.raises(DataError, match="different metrics or rare findings"):
        pool_test_sets([one, rare], system="s")
    two = pool_test_sets([one, other], system="two")
    three = pool_test_sets([one, other, one], system="three")
    with pytest.raises(DataError, match="two has 2 seeds and three 3"):
        compare_test_sets(two, three)
    fewer = evaluate(random_predictions(2)[:-1], options=OPTIONS)
    with pytest.raises(DataError, match="1 studies are in one of them only"):
        compare_test_sets(two, pool_test_sets([one, fewer], system="fewer"))
