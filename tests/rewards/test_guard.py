"""A reward fails in one way only, never says what a report holds, and never waits for ever."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from editgrpo.errors import EditError, RewardError, ScorerBugError
from editgrpo.rewards.guard import GuardedReward
from editgrpo.rewards.types import RewardScores

SECRET = "Small left pleural effusion."


class Scripted:
    """A reward that does what it is told."""

    name = "scripted"
    component_names = ("scripted",)

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.act = act

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        self.act()
        values = np.full(len(candidates), 0.25)
        return RewardScores(total=values, components={"scripted": values})


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize("timeout_s", [None, 30.0])
def test_scores_pass_through(timeout_s: float | None) -> None:
    guarded = GuardedReward(Scripted(), timeout_s=timeout_s)
    assert guarded.name == "scripted" and guarded.component_names == ("scripted",)
    assert guarded.score(["a", "b"], ["c", "d"]).total.tolist() == [0.25, 0.25]


@pytest.mark.parametrize("timeout_s", [None, 30.0])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(SECRET),
        ValueError(SECRET),
        KeyError(SECRET),
        ZeroDivisionError(SECRET),
        OSError(SECRET),
        TimeoutError(SECRET),
        MemoryError(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_becomes_a_reward_error_without_the_report(
    error: Exception, timeout_s: float | None
) -> None:
    guarded = GuardedReward(Scripted(raising(error)), timeout_s=timeout_s)
    with pytest.raises(RewardError) as caught:
        guarded.score(["a"], ["b"])
    message = str(caught.value)
    assert SECRET not in message and "\n" not in message
    assert message.startswith(f"scripted: {type(error).__name__} in test_guard.py, line ")
    assert caught.value.__cause__ is error


def test_our_own_errors_keep_their_words() -> None:
    guarded = GuardedReward(Scripted(raising(EditError("no embedding"))), timeout_s=None)
    with pytest.raises(RewardError, match="scripted: no embedding"):
        guarded.score(["a"], ["b"])
    guarded = GuardedReward(Scripted(raising(RewardError("index 3 is nan"))), timeout_s=None)
    with pytest.raises(RewardError, match=r"^index 3 is nan$"):
        guarded.score(["a"], ["b"])


@pytest.mark.parametrize("timeout_s", [None, 30.0])
@pytest.mark.parametrize("error", [TypeError("x"), AttributeError("x"), KeyboardInterrupt()])
def test_bugs_and_interrupts_are_not_hidden(error: BaseException, timeout_s: float | None) -> None:
    """They cost no group but end the run."""
    guarded = GuardedReward(Scripted(raising(error)), timeout_s=timeout_s)
    with pytest.raises((ScorerBugError, KeyboardInterrupt)):
        guarded.score(["a"], ["b"])


def test_a_scorer_that_hangs_is_given_up_and_not_called_again_until_it_ends() -> None:
    release, calls = threading.Event(), []

    def hang_once() -> None:
        calls.append(1)
        if len(calls) == 1:
            release.wait(60)

    guarded = GuardedReward(Scripted(hang_once), timeout_s=0.1)
    with pytest.raises(RewardError, match=r"no scores after 0.1 s; raise reward.timeout_s"):
        guarded.score(["a"], ["b"])
    with pytest.raises(RewardError, match="an earlier call is still running"):
        guarded.score(["a"], ["b"])
    assert len(calls) == 1
    release.set()
    assert guarded._running is not None
    guarded._running.result(10)
    assert guarded.score(["a"], ["b"]).total.tolist() == [0.25]


def test_threads_that_score_at_once_wait_for_each_other() -> None:
    guarded = GuardedReward(Scripted(lambda: time.sleep(0.05)), timeout_s=30.0)
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(lambda _: guarded.score(["a"], ["b"]).total.tolist(), range(4)))
    assert scores == [[0.25]] * 4
