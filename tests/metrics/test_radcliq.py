"""SembScore and RadCliQ-v1: published constants, values by hand, components put together."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from editgrpo.metrics.radcliq import NegatedRadCliQ, RadCliQ, SembScore, radcliq_v1
from editgrpo.rewards.composite import CompositeReward


def of(*values: float) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def test_radcliq_has_the_published_ends() -> None:
    # A perfect report, and one with nothing right.
    found = radcliq_v1(of(1, 0), of(1, 0), of(1, 0))
    assert found.round(4).tolist() == [-1.4407, 2.4501]


@pytest.mark.parametrize(
    ("radgraph", "bert_score", "semb", "expected"),
    [
        # The three slopes one at a time: 2.450143 - 1.245216, - 1.650845, - 0.994772.
        (1.0, 0.0, 0.0, 1.204927),
        (0.0, 1.0, 0.0, 0.799298),
        (0.0, 0.0, 1.0, 1.455371),
        (0.5, -1.0, 0.2, 2.450143 - 0.622608 + 1.650845 - 0.1989544),
    ],
)
def test_radcliq_is_a_straight_line_in_each_part(
    radgraph: float, bert_score: float, semb: float, expected: float
) -> None:
    found = radcliq_v1(of(radgraph), of(bert_score), of(semb))
    assert found == pytest.approx([expected], abs=2e-6)  # the constants are rounded at 5e-7


def test_a_report_s_radcliq_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((3, 20))
    alone = [float(radcliq_v1(*(column[:, None]))[0]) for column in values.T]
    assert radcliq_v1(*values).tolist() == pytest.approx(alone)


class Plane:
    """Embeds a number as that angle in degrees with a norm of its own, and no text as zero."""

    name = "plane"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array(
            [
                [0, 0]
                if not text
                else [7 * np.cos(np.radians(float(text))), 7 * np.sin(np.radians(float(text)))]
                for text in texts
            ],
            dtype=np.float32,
        )


def test_semb_is_the_cosine_and_zero_for_a_zero_embedding() -> None:
    metric = SembScore(Plane())
    candidates, references = (
        metric.read(["0", "0", "10", "0", ""]),
        metric.read(["0", "60", "190", "90", "30"]),
    )
    assert metric.name == "semb@plane"
    assert metric.compare(candidates, references) == pytest.approx(
        [1.0, 0.5, -1.0, 0.0, 0.0], abs=1e-6
    )


class Shared:
    """Share of the candidate's letters that the reference has, times a factor."""

    def __init__(self, name: str, factor: float) -> None:
        self.name = name
        self.factor = factor
        self.read_texts: list[str] = []

    def read(self, texts: Sequence[str]) -> list[frozenset[str]]:
        self.read_texts += texts
        return [frozenset(text) for text in texts]

    def compare(
        self, candidates: Sequence[frozenset[str]], references: Sequence[frozenset[str]]
    ) -> NDArray[np.float64]:
        pairs = zip(candidates, references, strict=True)
        return self.factor * of(*(len(c & r) / len(c) for c, r in pairs))


def test_radcliq_combines_what_its_parts_say_of_each_pair() -> None:
    parts = (Shared("radgraph", 0.5), Shared("bert", -1.0), Shared("semb", 0.2))
    reward = CompositeReward("custom", (RadCliQ(*parts),), weights={"radcliq-v1": 1.0})
    found = reward.score(["ab", "cd"], ["ab", "ab"]).components["radcliq-v1"]
    # "ab": all letters, so 0.5, -1 and 0.2 as in a case above; "cd": none, so all zero.
    assert found == pytest.approx([3.279425, 2.450143], abs=2e-6)


def test_as_it_is_paid_its_sign_is_turned() -> None:
    parts = (Shared("radgraph", 0.5), Shared("bert", -1.0), Shared("semb", 0.2))
    paid = NegatedRadCliQ(RadCliQ(*parts))
    found = paid.compare(paid.read(["ab", "cd"]), paid.read(["ab", "ab"]))
    assert paid.name == "radcliq-v1-negated"
    assert found == pytest.approx([-3.279425, -2.450143], abs=2e-6)


def test_each_part_reads_a_text_once() -> None:
    parts = (Shared("radgraph", 1.0), Shared("bert", 1.0), Shared("semb", 1.0))
    reward = CompositeReward("custom", (RadCliQ(*parts),), weights={"radcliq-v1": 1.0})
    reward.score(["ab", "cd"], ["ab", "ab"])
    reward.score(["ab"], ["cd"])
    assert [sorted(part.read_texts) for part in parts] == [["ab", "cd"]] * 3
