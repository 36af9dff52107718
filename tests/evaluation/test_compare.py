"""Paired comparison: nothing against itself, something against noise, and refusals."""

from dataclasses import replace

import pytest

from editgrpo.errors import DataError
from editgrpo.evaluation.compare import compare
from editgrpo.evaluation.evaluate import Evaluation, pool_seeds
from editgrpo.evaluation.types import EvaluationOptions
from tests.evaluation.builders import evaluate, random_predictions

TOTAL = "reward/total@fake"
MICRO = "fake/micro-f1-14"


def system(seed: int, right: float, name: str = "system") -> Evaluation:
    return evaluate(random_predictions(seed, right=right), system=name)


def test_a_system_does_not_differ_from_itself() -> None:
    one = system(1, 0.5)
    for difference in compare(one, one).metrics.values():
        assert (difference.difference, difference.low, difference.high) == (0, 0, 0)
        assert difference.p == 1


def test_a_better_system_is_found_better() -> None:
    good, bad = system(1, 0.9, "good"), system(2, 0.2, "bad")
    found = compare(good, bad)
    assert (found.a, found.b, found.n_studies) == ("good", "bad", 60)
    for name in (TOTAL, MICRO):
        difference = found.metrics[name]
        assert difference.difference == good.metrics[name].value - bad.metrics[name].value
        assert 0 < difference.low < difference.difference < difference.high
        assert difference.p == pytest.approx(1 / 1001)  # no exchange of 1,000 reaches it


def test_exchanging_the_systems_changes_the_sign() -> None:
    a, b = system(1, 0.6), system(2, 0.5)
    forward, backward = compare(a, b).metrics, compare(b, a).metrics
    for name, difference in forward.items():
        assert backward[name].difference == pytest.approx(-difference.difference)
        assert backward[name].low == pytest.approx(-difference.high, abs=1e-12)
        assert backward[name].p == difference.p


@pytest.mark.slow
def test_equal_systems_are_seldom_called_different() -> None:
    # Under the null hypothesis p is uniform: of 20 comparisons about 2 lie below .1, and more than
    # 6 with a probability of 0.0024.
    options = EvaluationOptions(samples=200)
    systems = [evaluate(random_predictions(seed), options=options) for seed in range(1, 41)]
    p_values = [
        compare(a, b).metrics[MICRO].p for a, b in zip(systems[::2], systems[1::2], strict=True)
    ]
    assert sum(p < 0.1 for p in p_values) <= 6
    assert sum(p > 0.5 for p in p_values) >= 4


def test_pairing_makes_the_interval_narrower_than_both_alone() -> None:
    # The same predictions but for two studies: what both share cancels.
    base = random_predictions(1)
    changed = [replace(one, prediction="") if k < 2 else one for k, one in enumerate(base)]
    a, b = evaluate(base), evaluate(changed)
    difference = compare(a, b).metrics[TOTAL]
    alone = a.metrics[TOTAL]
    assert difference.high - difference.low < 0.7 * (alone.high - alone.low)


@pytest.mark.slow
def test_one_run_can_be_compared_with_three_seeds() -> None:
    seeds = pool_seeds([system(seed, 0.8) for seed in (1, 2, 3)], system="three")
    one = system(4, 0.3, "one")
    found = compare(seeds, one)
    assert (found.seeds_a, found.seeds_b) == (3, 1)
    for name, difference in found.metrics.items():
        expected = seeds.metrics[name].value - one.metrics[name].value
        assert difference.difference == pytest.approx(expected)
        assert difference.low <= difference.difference + 1e-12
        assert difference.difference <= difference.high + 1e-12
    # Three copies of one run are that run.
    copies = pool_seeds([one, one, one], system="copies")
    assert compare(copies, one).metrics[MICRO].p == 1


def test_study_sets_must_agree() -> None:
    full = system(1, 0.5, "full")
    part = evaluate(random_predictions(1)[:-2], system="part")
    with pytest.raises(DataError, match="2 studies are in one of them only, such as s058 in full"):
        compare(full, part)


def test_references_must_agree() -> None:
    given = random_predictions(1)
    other = [replace(given[0], reference="effusion. effusion. effusion."), *given[1:]]
    with pytest.raises(DataError, match="the references of 1 studies differ, such as s000"):
        compare(evaluate(given), evaluate(other))


def test_rare_findings_must_agree() -> None:
    given = random_predictions(1)
    named = evaluate(given, options=EvaluationOptions(rare_findings=("Fracture",)))
    with pytest.raises(DataError, match="different metrics or rare findings"):
        compare(evaluate(given), named)
