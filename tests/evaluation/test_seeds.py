"""Several training seeds: the interval of a method, and that of the runs at hand."""

from dataclasses import replace

import numpy as np
import pytest

from editgrpo.evaluation.bootstrap import draw_seeds, over_seeds
from editgrpo.evaluation.compare import compare
from editgrpo.evaluation.evaluate import Evaluation, evaluate_predictions, pool_seeds
from editgrpo.evaluation.scoring_plan import ScoringPlan
from editgrpo.evaluation.tables import comparison_record, scores_record
from editgrpo.evaluation.types import EvaluationOptions, Prediction
from editgrpo.metrics.kinds import component_metric
from editgrpo.metrics.metric import Source, SourceKind
from tests.evaluation.builders import evaluate, never_loaded, random_predictions

VALUE = "given"
PLAN = ScoringPlan(
    metrics=(component_metric(VALUE, "of a text", never_loaded),),
    scorers={
        Source(SourceKind.COMPONENT, VALUE): lambda texts, _: np.array(
            [[float(text)] for text in texts]
        )
    },
    scored_with={},
)


def run(values: np.ndarray, *, samples: int = 300) -> Evaluation:
    rows = [
        Prediction(study_id=f"s{k}", prediction=str(value), reference="r", patient_id=f"p{k}")
        for k, value in enumerate(values)
    ]
    options = EvaluationOptions(samples=samples)
    return evaluate_predictions(rows, system="s", plan=PLAN, options=options)


def test_seeds_are_drawn_so_that_their_variance_is_right() -> None:
    drawn = draw_seeds(3, samples=40_000, rng=np.random.default_rng(0))
    assert drawn.shape == (40_000, 2)
    means = over_seeds(np.tile([0.0, 1.0, 5.0], (40_000, 1)), drawn)
    # The variance of a mean of three: s^2 / 3, s^2 = (4 + 1 + 9) / 2 = 7.
    assert means.var() == pytest.approx(7 / 3, rel=0.02)
    assert means.mean() == pytest.approx(2, abs=0.02)


def test_the_interval_of_a_method_reaches_as_far_as_its_seeds() -> None:
    # Seeds at 0, 1 and 2 for every patient alike: patients say nothing, the runs' interval is a
    # point; two draws of three seeds lie at 0 or 2 with 1/9 each, beyond the 2.5 % tails.
    pooled = pool_seeds([run(np.full(20, float(k))) for k in range(3)], system="three")
    estimate = pooled.metrics[VALUE]
    assert (estimate.value, estimate.seed_values) == (1, (0, 1, 2))
    assert (estimate.runs_low, estimate.runs_high) == (1, 1)
    assert (estimate.low, estimate.high) == (0, 2)


def test_seeds_share_their_patients() -> None:
    # All seeds wrote the same reports: seeds say nothing, and the luck of the patients does not
    # average out over them.
    values = np.random.default_rng(0).normal(size=30)
    pooled = pool_seeds([run(values)] * 3, system="three").metrics[VALUE]
    alone = run(values).metrics[VALUE]
    assert (pooled.low, pooled.high) == pytest.approx((alone.low, alone.high))
    assert (pooled.runs_low, pooled.runs_high) == pytest.approx((alone.low, alone.high))


def test_differences_of_paired_seeds_do_not_hold_what_the_seeds_share() -> None:
    # Seeds differ by whole units, a is .1 better with each of them.
    starts = [run(np.full(20, float(k))) for k in range(3)]
    better = [run(np.full(20, k + 0.1)) for k in range(3)]
    b, a = pool_seeds(starts, system="b"), pool_seeds(better, system="a")
    paired = compare(a, b).metrics[VALUE]
    assert paired.seed_differences == pytest.approx((0.1, 0.1, 0.1))
    assert (paired.low, paired.high) == pytest.approx((0.1, 0.1))
    # Without partners each side is drawn by itself: from -1.9 (0.1 - 2) to 2.1.
    two = pool_seeds(better[::2], system="a")
    unpaired = compare(two, b).metrics[VALUE]
    assert unpaired.seed_differences == ()
    assert (unpaired.low, unpaired.high) == pytest.approx((-1.9, 2.1))


def test_one_seed_of_either_side_says_nothing_of_a_method() -> None:
    several = pool_seeds([run(np.arange(20.0) + k) for k in range(3)], system="three")
    single = compare(several, run(np.arange(20.0))).metrics[VALUE]
    assert (single.low, single.high) == (single.runs_low, single.runs_high)


@pytest.mark.slow
def test_intervals_of_methods_cover() -> None:
    # Variances of seeds .05 and of patients 1 (the same for all seeds) and 1/2 (beside it): a mean
    # over 40 patients has about as much from the patients as from five seeds.
    rng = np.random.default_rng(2)
    held, held_by_runs, repeats = 0, 0, 200
    for _ in range(repeats):
        shared = rng.normal(size=40)
        runs = [
            run(rng.normal() * 0.05**0.5 + shared + rng.normal(size=40) * 0.5**0.5)
            for _ in range(5)
        ]
        estimate = pool_seeds(runs, system="s").metrics[VALUE]
        assert None not in (estimate.low, estimate.high, estimate.runs_low, estimate.runs_high)
        held += estimate.low <= 0 <= estimate.high  # type: ignore[operator]
        held_by_runs += estimate.runs_low <= 0 <= estimate.runs_high  # type: ignore[operator]
    assert 0.88 <= held / repeats <= 0.99
    assert held > held_by_runs


@pytest.mark.slow
def test_records_show_seeds_and_both_intervals() -> None:
    given = [
        [replace(one, patient_id=f"p{k // 2}") for k, one in enumerate(random_predictions(seed))]
        for seed in range(1, 7)
    ]
    runs = [evaluate(rows) for rows in given]
    a, b = pool_seeds(runs[:3], system="a"), pool_seeds(runs[3:], system="b")
    record = scores_record(a)
    words = "95 % interval over 3 training seeds, then 30 patients (60 studies)"
    assert record["intervals"] == words
    metric = record["metrics"]["fake/micro-f1-14"]
    assert set(metric) == {
        *("value", "low", "high", "runs_low", "runs_high", "direction", "seed_values")
    }
    compared = comparison_record(compare(a, b))
    assert compared["intervals"] == words
    assert compared["p_values"].startswith("p for these runs: two-sided, patients exchanged")
    row = compared["metrics"]["fake/micro-f1-14"]
    assert len(row["seed_differences"]) == 3
    assert np.mean(row["seed_differences"]) == pytest.approx(row["difference"])
    assert row["low"] < row["runs_high"]
    mixed = comparison_record(compare(a, runs[3]))
    assert mixed["intervals"].endswith("for these runs: one system has a single seed")
