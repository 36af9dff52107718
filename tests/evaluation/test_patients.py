"""Several studies of one patient: intervals that cover, a test that rejects as often as it says,
and what is said where patients are not known."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from editgrpo.errors import DataError, RewardError
from editgrpo.evaluation.bootstrap import percentile_interval, permutation_p
from editgrpo.evaluation.compare import compare
from editgrpo.evaluation.evaluate import Evaluation, evaluate_predictions, pool_seeds
from editgrpo.evaluation.scoring_plan import ScoringPlan
from editgrpo.evaluation.statement import interval_words
from editgrpo.evaluation.tables import comparison_record, metric_rows, scores_record, study_rows
from editgrpo.evaluation.types import EvaluationOptions, Prediction
from editgrpo.metrics.kinds import component_metric, label_metrics
from editgrpo.metrics.metric import Source, SourceKind
from editgrpo.reports.chexpert import FINDINGS
from tests.evaluation.builders import evaluate, never_loaded, random_predictions

MEAN, MICRO = "given", "given/micro-f1-14"
STUDIES = 7  # a patient


def _numbers(texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
    return np.array([[float(text.split()[0])] for text in texts])


def _counts(texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Read a true positive, false positive or miss of the first finding."""
    counts = np.zeros((len(texts), 3, len(FINDINGS)))
    for row, text in zip(counts, texts, strict=True):
        row[int(text.split()[1]), 0] = 1
    return counts.reshape(len(texts), -1)


PLAN = ScoringPlan(
    metrics=(component_metric(MEAN, "of a text", never_loaded), label_metrics("given")[0]),
    scorers={
        Source(SourceKind.COMPONENT, MEAN): _numbers,
        Source(SourceKind.LABELS, "given"): _counts,
    },
    scored_with={},
)


def correlated(
    rng: np.random.Generator, patients: int, *, known: bool = True, sets: int = 1
) -> list[Evaluation]:
    """Draw systems with 7 studies a patient, half of the variance between patients: a score of mean
    0, and true positives, false positives and misses, each in a third of the studies."""
    effects = rng.normal(size=(sets, patients, 1))
    scores = effects + rng.normal(size=(sets, patients, STUDIES))
    outcomes = np.searchsorted([-0.609, 0.609], scores)  # thirds of a variance of 2
    found = []
    for one, kinds in zip(scores, outcomes, strict=True):
        rows = [
            Prediction(
                study_id=f"{patient}-{study}",
                prediction=f"{one[patient, study]} {kinds[patient, study]}",
                reference="r",
                patient_id=f"p{patient}" if known else None,
            )
            for patient in range(patients)
            for study in range(STUDIES)
        ]
        options = EvaluationOptions(samples=300, rare_findings=())
        found.append(evaluate_predictions(rows, system="s", plan=PLAN, options=options))
    return found


def coverage(*, known: bool, repeats: int = 400) -> dict[str, float]:
    rng = np.random.default_rng(0)
    held = dict.fromkeys((MEAN, MICRO), 0)
    for _ in range(repeats):
        (found,) = correlated(rng, 60, known=known)
        # Micro-F1: 2 TP / (2 TP + FP + FN), each a third.
        for name, truth in ((MEAN, 0.0), (MICRO, 0.5)):
            estimate = found.metrics[name]
            assert estimate.low is not None
            assert estimate.high is not None
            held[name] += estimate.low <= truth <= estimate.high
    return {name: count / repeats for name, count in held.items()}


@pytest.mark.slow
def test_intervals_over_patients_cover() -> None:
    # Standard error of a coverage of 95 % over 400 test sets: 1.1 %.
    for name, share in coverage(known=True).items():
        assert 0.925 <= share <= 0.975, name


@pytest.mark.slow
def test_intervals_over_correlated_studies_do_not_cover() -> None:
    # What the patients are for: with half of the variance between them the standard error is
    # sqrt(1 + 6 / 2) = 2 times what independent studies would have; 1.96 / 2 covers 67 %.
    share = coverage(known=False, repeats=100)
    assert share[MEAN] == pytest.approx(0.67, abs=0.12)
    assert share[MICRO] < 0.88


@pytest.mark.slow
@pytest.mark.parametrize(
    ("known", "repeats", "least", "most"),
    [pytest.param(True, 250, 0.02, 0.085, marks=pytest.mark.slow), (False, 60, 0.12, 0.7)],
)
def test_the_paired_test_rejects_as_often_as_it_says(
    known: bool, repeats: int, least: float, most: float
) -> None:
    # Two equal systems: 5 % of the p-values lie below .05; standard error over 250: 1.4 %.
    rng = np.random.default_rng(1)
    rejected = dict.fromkeys((MEAN, MICRO), 0)
    for _ in range(repeats):
        a, b = correlated(rng, 40, known=known, sets=2)
        for name, difference in compare(a, b).metrics.items():
            rejected[name] += difference.p <= 0.05
    for name, count in rejected.items():
        assert least <= count / repeats <= most, name


def of_patients(given: Sequence[Prediction], each: int) -> list[Prediction]:
    return [replace(one, patient_id=f"p{k // each:03}") for k, one in enumerate(given)]


@pytest.mark.slow
def test_one_study_a_patient_is_as_without_patients() -> None:
    given = random_predictions(1)
    assert evaluate(of_patients(given, 1)).metrics == evaluate(given).metrics
    a, b = (of_patients(random_predictions(seed), 1) for seed in (1, 2))
    without = compare(evaluate(random_predictions(1)), evaluate(random_predictions(2)))
    assert compare(evaluate(a), evaluate(b)).metrics == without.metrics


def test_a_resample_brings_all_studies_of_a_patient() -> None:
    # Two patients, scores 1 1 1 and 0: means are 1 (a twice), 0 (b twice) or 3/4, never 1/2.
    rows = [
        Prediction(study_id=f"s{k}", prediction=f"{score} 0", reference="r", patient_id=patient)
        for k, (score, patient) in enumerate([(1, "a"), (1, "a"), (0, "b"), (1, "a")])
    ]
    options = EvaluationOptions(samples=400, confidence=0.2, rare_findings=())
    estimate = evaluate_predictions(rows, system="s", plan=PLAN, options=options).metrics[MEAN]
    # 3/4 has half of the resamples, from the first to the third quarter.
    assert (estimate.value, estimate.low, estimate.high) == (0.75, 0.75, 0.75)


def test_a_single_patient_has_no_interval() -> None:
    one = evaluate([replace(one, patient_id="p") for one in random_predictions(1)])
    other = evaluate([replace(one, patient_id="p") for one in random_predictions(2)])
    assert {(row.low, row.high) for row in one.metrics.values()} == {(None, None)}
    compared = compare(one, other)
    assert {(row.low, row.p) for row in compared.metrics.values()} == {(None, 1.0)}
    record = scores_record(one)
    assert record["intervals"].startswith("no interval: 1 patient (60 studies)")
    assert metric_rows(record)[0]["low"] is None


@pytest.mark.slow
def test_records_say_what_was_resampled() -> None:
    known, unknown = (
        evaluate(of_patients(random_predictions(1), 2)),
        evaluate(random_predictions(1)),
    )
    for record in (scores_record(known), comparison_record(compare(known, known))):
        assert (record["n_studies"], record["n_patients"]) == (60, 30)
        assert record["intervals"] == "95 % interval over 30 patients (60 studies)"
    for record in (scores_record(unknown), comparison_record(compare(unknown, unknown))):
        assert record["n_patients"] is None
        assert record["intervals"] == (
            "95 % interval over 60 studies (patients not known; too narrow where a patient has "
            "several studies)"
        )
    assert study_rows(known)[3]["patient_id"] == "p001"
    assert "patient_id" not in study_rows(unknown)[3]
    # Of an earlier version, which knew no patients.
    assert "patients not known" in interval_words({"n_studies": 9, "confidence": 0.9})


def test_the_patients_of_either_system_are_those_of_both() -> None:
    known = evaluate(of_patients(random_predictions(1), 5))
    unknown = evaluate(random_predictions(2))
    for pair in ((known, unknown), (unknown, known)):
        assert compare(*pair).n_patients == 12
        assert pool_seeds(pair, system="both").n_patients == 12


def test_patients_must_agree() -> None:
    given = of_patients(random_predictions(1), 2)
    other = [replace(given[0], patient_id="x"), *given[1:]]
    with pytest.raises(DataError, match="1 studies have another patient_id, such as s000"):
        compare(evaluate(given), evaluate(other))


def test_all_studies_have_a_patient_or_none_has() -> None:
    given = of_patients(random_predictions(1), 2)
    with pytest.raises(DataError, match="study s003 has no patient_id though others have"):
        evaluate([replace(one, patient_id=None) if k == 3 else one for k, one in enumerate(given)])


@pytest.mark.slow
def test_the_order_of_studies_and_the_names_of_patients_change_nothing() -> None:
    given = of_patients(random_predictions(1), 3)
    assert evaluate(given).metrics == evaluate(given[::-1]).metrics
    longer = [replace(one, patient_id=f"patient {one.patient_id}") for one in given]
    assert evaluate(longer).metrics == evaluate(given).metrics


def test_a_metric_without_a_value_is_named() -> None:
    with pytest.raises(RewardError, match="m is NaN or infinite on 2 of 3 resamples"):
        percentile_interval(np.array([0.5, np.nan, np.inf]), confidence=0.9, name="m")


def test_rounding_of_large_values_is_a_tie() -> None:
    # Lengths of thousands of words: their means carry an error of 1e-12 each.
    null = np.array([0.1 - 3e-12, -0.1 + 3e-12, 0.0])
    assert permutation_p(0.1, null, size=5000.0) == pytest.approx(3 / 4)  # (1 + 2) / (1 + 3)
