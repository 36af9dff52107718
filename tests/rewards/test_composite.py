"""The weighted sum, its memory and its refusals."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from editgrpo.errors import RewardError
from editgrpo.metrics.entity_f1 import EntityF1
from editgrpo.metrics.entity_similarity import EntitySimilarity
from editgrpo.metrics.label_f1 import LabelF1
from editgrpo.rewards.composite import CompositeReward
from tests.rewards.fakes import FakeAnnotator, FakeLabeler


class LengthRatio:
    """Characters of the candidate divided by those of the reference; NaN for an empty
    reference."""

    def __init__(self, name: str = "length") -> None:
        self.name = name
        self.read_texts: list[str] = []

    def read(self, texts: Sequence[str]) -> list[float]:
        self.read_texts.extend(texts)
        return [float(len(text)) if text else float("nan") for text in texts]

    def compare(
        self, candidates: Sequence[float], references: Sequence[float]
    ) -> NDArray[np.float64]:
        return np.array(candidates) / np.array(references)


def fake_rules() -> CompositeReward:
    annotator = FakeAnnotator()
    parts = (LabelF1(FakeLabeler()), EntityF1(annotator), EntitySimilarity(annotator))
    return CompositeReward("fake", parts, weights={part.name: 1.0 for part in parts})


def test_total_is_the_weighted_sum() -> None:
    parts = [LengthRatio("one"), LengthRatio("two")]
    reward = CompositeReward("sum", parts, weights={"one": 0.5, "two": 2.0})
    scores = reward.score(["ab", "abc"], ["a", "abc"])
    assert scores.components["one"].tolist() == [2.0, 1.0]
    assert scores.total.tolist() == [5.0, 2.5]  # 0.5*2 + 2*2, 0.5*1 + 2*1
    assert reward.component_names == ("one", "two")


def test_a_text_is_read_once() -> None:
    part = LengthRatio()
    reward = CompositeReward("sum", [part], weights={"length": 1.0})
    reward.score(["ab", "ab", "abc"], ["abc"] * 3)
    reward.score(["ab", "x"], ["abc"] * 2)
    assert part.read_texts == ["ab", "abc", "x"]


def test_nan_names_component_and_index_and_no_text() -> None:
    reward = CompositeReward("sum", [LengthRatio()], weights={"length": 1.0})
    with pytest.raises(RewardError, match=r"^length: the score at index 1 is nan") as caught:
        reward.score(["secret"] * 2, ["a", ""])
    assert "secret" not in str(caught.value)


def test_lengths_must_agree() -> None:
    with pytest.raises(RewardError, match="2 candidates but 1 references"):
        fake_rules().score(["a", "b"], ["a"])


def test_no_reports_give_no_scores() -> None:
    scores = fake_rules().score([], [])
    assert scores.total.shape == (0,)
    assert all(values.shape == (0,) for values in scores.components.values())


def test_a_perfect_report_scores_three() -> None:
    text = "effusion. rib fracture."
    assert fake_rules().score([text], [text]).total.tolist() == pytest.approx([3.0])


@pytest.mark.parametrize("empty", ["", " ", "...", "!?", "the"])
def test_an_empty_handed_report_scores_zero(empty: str) -> None:
    scores = fake_rules().score([empty, empty], ["effusion. rib fracture.", "clear"])
    assert scores.total.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("repeats", [2, 10])
def test_repetition_gains_nothing_in_total(repeats: int) -> None:
    reference = "effusion. no cardiomegaly."
    right, wrong = "effusion. ", "rib fracture. "
    scores = fake_rules().score(
        [right + wrong, right * repeats + wrong, right + wrong * repeats], [reference] * 3
    )
    assert scores.total[1:] == pytest.approx(scores.total[0])


def test_scores_do_not_depend_on_the_batch() -> None:
    reward, fresh = fake_rules(), fake_rules()
    texts = ["effusion.", "no effusion. fracture.", "clear", ""]
    references = ["effusion. rib.", "fracture.", "clear", "effusion."]
    together = reward.score(texts, references).total
    alone = [fresh.score([c], [r]).total[0] for c, r in zip(texts, references, strict=True)]
    assert together.tolist() == alone


def test_a_candidate_that_states_nothing_earns_nothing() -> None:
    # "a rib" names an anatomy, "words" nothing; "no effusion" states something.
    reward = CompositeReward(
        "sum", [LengthRatio()], weights={"length": 1.0}, statements=FakeAnnotator()
    )
    candidates = ["a rib", "words", "no effusion"]
    scores = reward.score(candidates, ["reference"] * 3)
    assert scores.total.tolist() == [0.0, 0.0, pytest.approx(11 / 9)]


def test_what_silence_costs_is_not_withheld() -> None:
    class Costs(LengthRatio):
        def compare(
            self, candidates: Sequence[float], references: Sequence[float]
        ) -> NDArray[np.float64]:
            return -super().compare(candidates, references)

    reward = CompositeReward("sum", [Costs()], weights={"length": 1.0}, statements=FakeAnnotator())
    assert reward.score(["words"], ["words"]).total.tolist() == [-1.0]
