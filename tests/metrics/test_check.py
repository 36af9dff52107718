"""One number a report, one row of labels a report: whatever else comes back is refused by name."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from editgrpo.adapters.reward import score_or_none
from editgrpo.adapters.trl import reward_function
from editgrpo.errors import RewardError
from editgrpo.evaluation.scoring_plan import component_scorer, label_scorer
from editgrpo.metrics.check import label_rows, score_each
from editgrpo.metrics.label_f1 import LabelF1, label_f1
from editgrpo.metrics.label_metrics import study_counts
from editgrpo.metrics.label_rewards import balanced_accuracy, weighted_label_f1
from editgrpo.metrics.radcliq import RadCliQ
from editgrpo.metrics.silence import StatedLabeler
from editgrpo.rewards.composite import CompositeReward
from editgrpo.rewards.guard import GuardedReward, checked_scores
from editgrpo.rewards.types import RewardScores
from tests.rewards.fakes import FakeAnnotator

TEXTS = ["secret one", "secret two", "secret three"]

# What a component gives for three reports, and what the message says of it.
WRONG_SCORES: dict[str, tuple[Any, str]] = {
    "stretched": (np.array([0.5]), "length: gave 1 scores for 3 reports"),
    "short": ([0.5, 0.5], "length: gave 2 scores for 3 reports"),
    "long": (np.ones(4), "length: gave 4 scores for 3 reports"),
    "empty": (np.zeros(0), "length: gave 0 scores for 3 reports"),
    "column": (np.ones((3, 1)), r"length: gave an array of shape \(3, 1\) for 3 reports"),
    "row": (np.ones((1, 3)), r"length: gave an array of shape \(1, 3\) for 3 reports"),
    "scalar": (0.5, "length: gave one float for 3 reports"),
    "nothing": (None, "length: gave one None for 3 reports"),
    "generator": ((one for one in (1.0, 2.0, 3.0)), "length: gave one generator for 3 reports"),
    "ragged": ([[1.0], [1.0, 2.0], 3.0], "length: gave a list that is no array of numbers for 3"),
    "none": ([1.0, None, 3.0], "length: the score at index 1 is a None"),
    "text": ([1.0, 2.0, "secret"], "length: the score at index 0 is a str"),
    "object": (np.array([1.0, 2.0, "secret"], dtype=object), "the score at index 2 is a str"),
    "complex": (np.array([1.0, 2j, 3.0]), "length: the score at index 0 is a complex128"),
    "nan": ([1.0, 2.0, float("nan")], "length: the score at index 2 is nan"),
    "infinite": (np.array([-np.inf, 1.0, 2.0]), "length: the score at index 0 is -inf"),
}
wrong_scores = pytest.mark.parametrize(
    ("given", "message"), WRONG_SCORES.values(), ids=WRONG_SCORES.keys()
)


class Gives:
    """A component that gives what it is told to."""

    name = "length"

    def __init__(self, scores: Any, facts: Callable[[Sequence[str]], list[str]] = list) -> None:
        self._scores = scores
        self._facts = facts

    def read(self, texts: Sequence[str]) -> list[str]:
        return self._facts(texts)

    def compare(self, candidates: Sequence[str], references: Sequence[str]) -> Any:
        return self._scores


class GivesScores:
    """A reward of somebody else's that gives what it is told to."""

    name = "theirs"
    component_names = ("length",)

    def __init__(self, total: Any, part: Any) -> None:
        self._scores = RewardScores(total=total, components={"length": part})

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        return self._scores


@wrong_scores
def test_a_component_gives_one_finite_number_a_report(given: Any, message: str) -> None:
    reward = CompositeReward("sum", [Gives(given)], weights={"length": 1.0})
    with pytest.raises(RewardError, match=message) as caught:
        reward.score(TEXTS, TEXTS)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        np.array([1, 2, 3], dtype=np.float16),
        np.array([1.0, 2.0, 3.0], dtype=object),
        torch.tensor([1.0, 2.0, 3.0]),
    ],
)
def test_any_sequence_of_numbers_will_do(given: Any) -> None:
    scores = score_each("length", given, 3)
    assert scores.dtype == np.float64
    assert scores.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("facts", "count"), [(lambda texts: texts[:1], 1), (lambda texts: [*texts, ""], 4)]
)
def test_a_component_reads_every_text_once(
    facts: Callable[[Sequence[str]], list[str]], count: int
) -> None:
    part = Gives(np.ones(3), facts)
    with pytest.raises(RewardError, match=f"length: gave {count} readings of 3 texts"):
        CompositeReward("sum", [part], weights={"length": 1.0}).score(TEXTS, TEXTS)
    with pytest.raises(RewardError, match=f"length: gave {count} readings of 3 texts"):
        component_scorer(part)(TEXTS, TEXTS)
    with pytest.raises(RewardError, match=f"length: gave {count} readings of 3 texts"):
        RadCliQ(part, part, part).read(TEXTS)


@pytest.mark.parametrize("where", ["total", "part"])
@wrong_scores
def test_a_reward_from_elsewhere_is_checked_wherever_it_is_used(
    given: Any, message: str, where: str
) -> None:
    good = np.ones(3)
    reward = GivesScores(given, good) if where == "total" else GivesScores(good, given)
    said = message.removeprefix("length: ")
    name = "theirs, total: " if where == "total" else "length: "
    for score in (
        lambda: checked_scores(reward, TEXTS, TEXTS),
        lambda: GuardedReward(reward, timeout_s=None).score(TEXTS, TEXTS),
    ):
        with pytest.raises(RewardError, match=said) as caught:
            score()
        assert name in str(caught.value)


def test_other_trainers_get_none_for_a_group_without_scores() -> None:
    stretched = GivesScores(np.array([3.0]), np.array([3.0]))
    assert score_or_none(stretched, TEXTS, ["same"] * 3) == [None] * 3
    function = reward_function(stretched, max_dropped_share=1.0)
    assert function(TEXTS, findings=["same"] * 3) == [None] * 3


@pytest.mark.parametrize("given", [np.array([0.5]), np.ones((3, 1)), np.ones(2)])
def test_an_evaluation_has_a_number_for_each_study(given: Any) -> None:
    with pytest.raises(RewardError, match="for 3 reports; return one number a report"):
        component_scorer(Gives(given))(TEXTS, TEXTS)
    with pytest.raises(RewardError, match="for 3 reports; return one number a report"):
        part = Gives(given)
        RadCliQ(part, part, part).compare([("", "", "")] * 3, [("", "", "")] * 3)


class GivesLabels:
    """A labeler that gives what it is told to."""

    name = "theirs"

    def __init__(self, labels: Any) -> None:
        self._labels = labels

    def label(self, texts: Sequence[str]) -> Any:
        return self._labels

    classify = label


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.ones((1, 14)), r"labeler theirs: gave labels of shape \(1, 14\) for 3 reports"),
        (np.ones((3, 13)), r"labeler theirs: gave labels of shape \(3, 13\) for 3 reports"),
        (np.ones((14,)), r"labeler theirs: gave labels of shape \(14,\) for 3 reports"),
        (np.ones((3, 14, 1)), r"labeler theirs: gave labels of shape \(3, 14, 1\)"),
        (np.full((3, 14), np.nan), "labeler theirs: gave a label that is no whole number from 0"),
        (np.full((3, 14), 0.5), "labeler theirs: gave a label that is no whole number from 0"),
        (np.full((3, 14), -1), "labeler theirs: gave a label that is no whole number from 0"),
        (np.full((3, 14), 4), "labeler theirs: gave a label that is no whole number from 0"),
    ],
)
def test_a_labeler_gives_a_row_a_report(labels: Any, message: str) -> None:
    labeler = GivesLabels(labels)
    stated = StatedLabeler(labeler, FakeAnnotator())
    for read in (LabelF1(labeler).read, stated.label, stated.classify):
        with pytest.raises(RewardError, match=message):
            read(TEXTS)


def test_a_labeler_of_an_evaluation_gives_a_row_a_report() -> None:
    with pytest.raises(RewardError, match=r"gave labels of shape \(3, 14\) for 6 reports"):
        label_scorer(GivesLabels(np.ones((3, 14))))(TEXTS, TEXTS)


def test_labels_are_zero_or_one_and_classes_go_to_three() -> None:
    assert label_rows("theirs", np.ones((2, 14), dtype=bool), 2).dtype == np.uint8
    with pytest.raises(RewardError, match="from 0 to 1"):
        label_rows("theirs", np.full((2, 14), 3), 2)
    assert (label_rows("theirs", np.full((2, 14), 3), 2, highest=3) == 3).all()


@pytest.mark.parametrize(
    "score",
    [
        label_f1,
        balanced_accuracy,
        lambda a, b: weighted_label_f1(a, b, np.ones(14)),
        study_counts,
    ],
)
def test_matrices_of_labels_are_not_stretched(score: Callable[..., Any]) -> None:
    one, three = np.ones((1, 14), dtype=np.uint8), np.ones((3, 14), dtype=np.uint8)
    for pair in ((one, three), (three, one), (one[0], one[0])):
        with pytest.raises(RewardError, match="give one row for each report on both sides"):
            score(*pair)
