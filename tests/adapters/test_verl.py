"""The functions for verl, called as verl 0.9.1 calls them."""

import asyncio
import threading
import time
from collections.abc import Sequence
from functools import partial
from types import MappingProxyType

import pytest

from editgrpo.adapters import verl
from editgrpo.adapters.verl import compute_score
from editgrpo.errors import ConfigError, RewardError
from editgrpo.rewards import RewardScores, load_reward
from tests.adapters.fakes import LengthReward

CANDIDATES = ["The heart is enlarged.", "No pneumothorax.", ""]
REFERENCE = "The heart is enlarged. No pneumothorax."


class SlowReward(LengthReward):
    """Takes a moment, in which other threads ask, and minds being called twice at once."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._busy = threading.Lock()

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        assert self._busy.acquire(blocking=False), "called by two threads at once"
        try:
            time.sleep(0.05)
            return super().score(candidates, references)
        finally:
            self._busy.release()


def ask_as_naive_manager(candidates: Sequence[str], **settings: object) -> list[object]:
    """Ask for every report in a thread of its own, as the reward loop's `run_single` does."""
    score = partial(compute_score, **settings)

    async def ask() -> list[object]:
        loop = asyncio.get_running_loop()
        calls = [
            loop.run_in_executor(
                None,
                lambda text=text: score(
                    data_source="x", solution_str=text, ground_truth=REFERENCE, extra_info={}
                ),
            )
            for text in candidates
        ]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    return asyncio.run(ask())


def test_it_gives_the_package_s_reward_with_its_components() -> None:
    expected = load_reward("rules").score(CANDIDATES, [REFERENCE] * 3)
    answers = ask_as_naive_manager(CANDIDATES, name="rules")
    assert [one["score"] for one in answers] == expected.total.tolist()  # type: ignore[index]
    for row, answer in enumerate(answers):
        assert isinstance(answer, dict)
        assert all(type(value) is float for value in answer.values())
        assert {name: answer[name] for name in expected.components} == {
            name: values[row] for name, values in expected.components.items()
        }


def test_reward_kwargs_reach_the_reward() -> None:
    weights = MappingProxyType({"entity_f1/partial@rules": 0.0})
    expected = load_reward("rules", dict(weights)).score([CANDIDATES[0]], [REFERENCE]).total[0]
    score = compute_score("x", CANDIDATES[0], REFERENCE, {}, name="rules", weights=weights)
    assert score["score"] == expected
    with pytest.raises(ConfigError, match="unknown key reward"):
        compute_score("x", "", "", {}, wieghts={})


def test_reports_asked_for_together_are_scored_together(monkeypatch: pytest.MonkeyPatch) -> None:
    reward = SlowReward()
    monkeypatch.setattr(verl, "load_shared_reward", lambda: reward)
    texts = ["a" * k for k in range(24)]
    scores = [one["score"] for one in ask_as_naive_manager(texts)]  # type: ignore[index]
    assert scores == list(range(24))
    assert sum(reward.calls) == 24
    assert len(reward.calls) <= 12  # the pool has at least five threads


@pytest.mark.parametrize("error", [RewardError("broken"), TypeError("a bug")])
def test_what_cannot_be_scored_raises_for_everybody_who_waits(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    reward = SlowReward(fails=[REFERENCE], error=error)
    monkeypatch.setattr(verl, "load_shared_reward", lambda: reward)
    answers = ask_as_naive_manager(["a", "b", "c", "d"])
    assert all(isinstance(answer, type(error)) for answer in answers)
