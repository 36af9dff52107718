"""Small test sets in the vocabulary of the fake annotator and labeler."""

from collections.abc import Sequence
from typing import Never

import numpy as np

from editgrpo.evaluation.evaluate import Evaluation, evaluate_predictions
from editgrpo.evaluation.scoring_plan import (
    ScoringPlan,
    component_scorer,
    label_scorer,
    text_scorers,
)
from editgrpo.evaluation.types import EvaluationOptions, Prediction
from editgrpo.metrics.entity_f1 import EntityF1
from editgrpo.metrics.entity_similarity import EntitySimilarity
from editgrpo.metrics.kinds import (
    average_metric,
    bleu_metric,
    component_metric,
    label_metrics,
    sum_metric,
    text_metric,
)
from editgrpo.metrics.label_f1 import LabelF1
from editgrpo.metrics.metric import Direction, Source, SourceKind
from editgrpo.metrics.text_metrics import TEXT_SCALARS
from tests.rewards.fakes import FakeAnnotator, FakeLabeler

PHRASES = ("effusion.", "cardiomegaly.", "fracture.", "no effusion.", "clear lungs today.")


def never_loaded(*_: object) -> Never:
    """Stand for the loader of a metric whose numbers a test gives by hand."""
    raise AssertionError("a test loaded a metric whose numbers it gives")


def fake_plan(*, batch: int = 256, labeler: FakeLabeler | None = None) -> ScoringPlan:
    """Plan the metrics of the set `rules` and balanced accuracy, with fakes behind them."""
    annotator, labels = FakeAnnotator(), labeler or FakeLabeler()
    components = (LabelF1(labels), EntityF1(annotator), EntitySimilarity(annotator))
    corpus = label_metrics("fake")
    parts = [component_metric(one.name, "of a fake", never_loaded) for one in components]
    scorers = {Source(SourceKind.LABELS, "fake"): label_scorer(labels)}
    for component in components:
        scorers[Source(SourceKind.COMPONENT, component.name)] = component_scorer(component)
    return ScoringPlan(
        metrics=(
            average_metric("average/clinical@fake", "mean", (*corpus[:4], *parts[1:])),
            *corpus,
            sum_metric("reward/total@fake", "sum", parts),
            *parts,
            *(text_metric(name, "of words", Direction.NEITHER) for name in TEXT_SCALARS),
            bleu_metric(4),
        ),
        scorers=scorers | text_scorers(),
        scored_with={"fake": "sha256:0"},
        batch=batch,
    )


def predictions(pairs: Sequence[tuple[str, str]]) -> list[Prediction]:
    """Name pairs of prediction and reference s000, s001, ..."""
    return [
        Prediction(study_id=f"s{k:03}", prediction=prediction, reference=reference)
        for k, (prediction, reference) in enumerate(pairs)
    ]


def random_predictions(seed: int, *, studies: int = 60, right: float = 0.5) -> list[Prediction]:
    """Draw reports of three phrases; each phrase is the reference's with probability `right`.

    The references depend on `studies` alone.
    """
    reference_rng = np.random.default_rng(0)
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(studies):
        reference = reference_rng.choice(PHRASES, size=3)
        other = rng.choice(PHRASES, size=3)
        prediction = np.where(rng.random(3) < right, reference, other)
        pairs.append((" ".join(prediction), " ".join(reference)))
    return predictions(pairs)


def evaluate(
    given: Sequence[Prediction], *, system: str = "system", options: EvaluationOptions | None = None
) -> Evaluation:
    """Evaluate with the fakes."""
    return evaluate_predictions(given, system=system, plan=fake_plan(), options=options)
