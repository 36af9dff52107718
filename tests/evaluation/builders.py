"""Small test sets in the vocabulary of the fake annotator and labeler."""

from collections.abc import Sequence

import numpy as np

from editgrpo.evaluation.evaluate import Evaluation, evaluate_predictions
from editgrpo.evaluation.types import EvaluationOptions, Prediction
from editgrpo.rewards.composite import CompositeReward
from editgrpo.rewards.entity_f1 import EntityF1
from editgrpo.rewards.entity_similarity import EntitySimilarity
from editgrpo.rewards.label_f1 import LabelF1
from tests.rewards.fakes import FakeAnnotator, FakeLabeler

PHRASES = ("effusion.", "cardiomegaly.", "fracture.", "no effusion.", "clear lungs today.")


def fake_reward() -> CompositeReward:
    """Make the three components with fakes behind them."""
    annotator = FakeAnnotator()
    parts = (LabelF1(FakeLabeler()), EntityF1(annotator), EntitySimilarity(annotator))
    return CompositeReward("fake", parts, weights={part.name: 1.0 for part in parts})


def predictions(pairs: Sequence[tuple[str, str]]) -> list[Prediction]:
    """Name pairs of prediction and reference s0, s1, ..."""
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
    return evaluate_predictions(
        given, system=system, reward=fake_reward(), labeler=FakeLabeler(), options=options
    )
