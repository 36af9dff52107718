"""Metrics of small test sets by hand, and what must not change them."""

import pytest

from editgrpo.errors import ConfigError, DataError
from editgrpo.evaluation.evaluate import (
    Evaluation,
    evaluate_predictions,
    evaluate_statistics,
    pool_seeds,
)
from editgrpo.evaluation.rows import StudyRows
from editgrpo.evaluation.types import EvaluationOptions
from tests.evaluation.builders import evaluate, fake_plan, predictions, random_predictions

PAIRS = [
    ("effusion.", "effusion."),
    ("effusion.", "clear lungs today."),
    ("clear lungs today.", "clear lungs today."),
    ("", "fracture."),
]


def values(evaluation: Evaluation) -> dict[str, float]:
    return {name: estimate.value for name, estimate in evaluation.metrics.items()}


def test_metrics_by_hand() -> None:
    found = values(evaluate(predictions(PAIRS)))
    # Effusion TP 1 FP 1; No Finding TP 1 FN 1; Fracture FN 1.
    assert found["fake/micro-f1-14"] == pytest.approx(4 / 7)  # 2*2 / (2*2 + 1 + 2)
    # F1: effusion 2/3, No Finding 2/3, twelve others 0.
    assert found["fake/macro-f1-14"] == pytest.approx(4 / 3 / 14)
    assert found["fake/micro-f1-5"] == pytest.approx(2 / 3)
    assert found["fake/macro-f1-5"] == pytest.approx(2 / 3 / 5)
    assert found["fake/report-micro-f1-14"] == pytest.approx(0.5)  # 1, 0, 1, 0
    assert found["entity_f1/partial@fake"] == pytest.approx(0.25)  # only the first has entities
    assert found["entity_similarity@fake"] == pytest.approx(0.25)
    assert found["reward/total@fake"] == pytest.approx(1.0)
    assert found["text/empty"] == pytest.approx(0.25)
    assert found["text/words"] == pytest.approx(5 / 4)
    # Sensitivity and specificity: effusion 1 and 2/3, No Finding 1/2 and 1, fracture 0 and 1. The
    # other findings are in no reference.
    assert found["fake/balanced-accuracy-14"] == pytest.approx((5 / 6 + 3 / 4 + 1 / 2) / 3)
    six = 4 / 7 + 4 / 42 + 2 / 3 + 2 / 15 + 0.25 + 0.25
    assert found["average/clinical@fake"] == pytest.approx(six / 6)


def test_per_finding_by_hand() -> None:
    per_finding = evaluate(predictions(PAIRS)).per_finding
    effusion, fracture = per_finding["Pleural Effusion"], per_finding["Fracture"]
    assert (effusion.precision, effusion.recall) == (0.5, 1.0)
    assert (effusion.support, effusion.predicted) == (1, 2)
    assert effusion.f1 == pytest.approx(2 / 3)
    assert (fracture.f1, fracture.precision, fracture.recall) == (0, 0, 0)
    assert (fracture.support, fracture.predicted) == (1, 0)


def test_the_order_of_studies_changes_nothing() -> None:
    given = random_predictions(1)
    one, other = evaluate(given), evaluate(given[::-1])
    assert one.metrics == other.metrics
    assert one.per_finding == other.per_finding


def test_the_seed_changes_intervals_but_no_value() -> None:
    given = random_predictions(1)
    one = evaluate(given)
    same, other = (evaluate(given, options=EvaluationOptions(seed=seed)) for seed in (0, 1))
    assert one.metrics == same.metrics
    assert values(one) == values(other)
    assert one.metrics["reward/total@fake"] != other.metrics["reward/total@fake"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["fake/micro-f1-14", "reward/total@fake", "text/bleu-4", "average/clinical@fake"]
)
def test_an_interval_holds_its_value_and_narrows_with_studies(name: str) -> None:
    few, many = (evaluate(random_predictions(1, studies=n)).metrics[name] for n in (40, 640))
    assert few.low < few.value < few.high
    assert many.low < many.value < many.high
    # Sixteen times the studies: a quarter of the width; between 1/6 and 2/5 by chance.
    assert 1 / 6 < (many.high - many.low) / (few.high - few.low) < 2 / 5


def test_wider_confidence_gives_wider_intervals() -> None:
    given = random_predictions(1)
    narrow, wide = (
        evaluate(given, options=EvaluationOptions(confidence=c)).metrics["reward/total@fake"]
        for c in (0.5, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_rare_findings_are_chosen_by_the_references() -> None:
    given = predictions([("effusion.", "effusion.")] * 19 + [("fracture.", "fracture.")])
    rare = evaluate(given, options=EvaluationOptions(rare_share=0.06))
    assert rare.rare_findings == ("Fracture",)  # 1 of 20 is 5 %
    assert rare.metrics["fake/macro-f1-rare"].value == 1.0
    none = evaluate(given, options=EvaluationOptions(rare_share=0.05))
    assert none.rare_findings == ()
    assert "fake/macro-f1-rare" not in none.metrics


def test_no_finding_is_never_rare() -> None:
    given = predictions([("effusion.", "effusion.")] * 19 + [("clear", "clear lungs today.")])
    found = evaluate(given, options=EvaluationOptions(rare_share=0.5))
    assert found.per_finding["No Finding"].support == 1
    assert found.rare_findings == ()


def test_rare_findings_by_name() -> None:
    options = EvaluationOptions(rare_findings=("Fracture", "Pleural Effusion"))
    found = evaluate(predictions(PAIRS), options=options).metrics
    assert found["fake/macro-f1-rare"].value == pytest.approx(1 / 3)  # (0 + 2/3) / 2
    assert found["fake/micro-f1-rare"].value == pytest.approx(0.5)  # 2 / (2 + 1 + 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"confidence": 1.0},
        {"rare_share": float("nan")},
        {"rare_findings": ("Flu",)},
    ],
)
def test_options_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        EvaluationOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_pooled_seeds_are_the_mean_of_the_seeds() -> None:
    runs = [evaluate(random_predictions(seed)) for seed in (1, 2, 3)]
    pooled = pool_seeds(runs, system="pooled")
    for name, estimate in pooled.metrics.items():
        seed_values = [run.metrics[name].value for run in runs]
        assert estimate.seed_values == pytest.approx(seed_values, rel=1e-12)
        assert estimate.value == pytest.approx(sum(seed_values) / 3, rel=1e-12)
    effusions = [run.per_finding["Pleural Effusion"] for run in runs]
    assert pooled.per_finding["Pleural Effusion"].f1 == pytest.approx(
        sum(one.f1 for one in effusions) / 3
    )
    assert pooled.per_finding["Pleural Effusion"].support == effusions[0].support


def test_pooling_one_run_with_itself_changes_no_interval() -> None:
    run = evaluate(random_predictions(1))
    twice = pool_seeds([run, run], system="twice")
    for name, estimate in run.metrics.items():
        assert twice.metrics[name].low == pytest.approx(estimate.low, abs=1e-12)
        assert twice.metrics[name].high == pytest.approx(estimate.high, abs=1e-12)


def test_pooling_needs_the_same_studies() -> None:
    with pytest.raises(DataError, match="3 studies are in one of them only, such as s004 in seven"):
        pool_seeds(
            [
                evaluate(random_predictions(1, studies=7), system="seven"),
                evaluate(random_predictions(1, studies=7)[:4], system="four"),
            ],
            system="both",
        )


def test_progress_reaches_the_whole() -> None:
    calls: list[tuple[int, int]] = []
    evaluate_predictions(
        random_predictions(1, studies=300),
        system="s",
        plan=fake_plan(),
        options=EvaluationOptions(samples=1),
        progress=lambda done, whole: calls.append((done, whole)),
    )
    assert calls == [(256, 300), (300, 300)]


@pytest.mark.parametrize(("repeat", "message"), [(0, "no predictions"), (2, "appears twice")])
def test_unusable_predictions_are_refused(repeat: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(predictions(PAIRS) * repeat)


def test_numbers_computed_before_give_the_same_estimates_without_a_text() -> None:
    whole = evaluate(random_predictions(1))
    hashes = {study: f"hash of {study}" for study in whole.references}
    rows = StudyRows(system="kept", references=hashes, patients=whole.patients)
    found = evaluate_statistics(rows, whole.runs, options=whole.options)
    assert found.metrics == whole.metrics
    assert found.per_finding == whole.per_finding
    few = StudyRows(system="kept", references={"s000": ""}, patients=None)
    with pytest.raises(DataError, match="kept: numbers of 60 studies for 1"):
        evaluate_statistics(few, whole.runs)
