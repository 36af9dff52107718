"""A reward that fails in one way only: whatever goes wrong while scoring becomes a RewardError.

The trainer drops the group that it cannot score and counts it; it must never meet a made-up score,
and must not wait for ever. Running out of memory is met where the batches are made
(`clinical/batching.py`), NaN and scores of a wrong length where components are summed
(`composite.py`).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from editgrpo.errors import EditGRPOError, RewardError, ScorerBugError, StorageError
from editgrpo.foreign import scoring
from editgrpo.metrics.check import require_finite, score_each
from editgrpo.rewards.types import Reward, RewardScores


def checked_scores(
    reward: Reward, candidates: Sequence[str], references: Sequence[str]
) -> RewardScores:
    """Score with a reward of any origin and check what it gives.

    Args:
        reward: What scores.
        candidates: N reports.
        references: N reference reports, in the same order.

    Returns:
        Its scores; the total and every component are (N,) float64 and finite.

    Raises:
        RewardError: scoring failed, or the total or a component is of another length or shape, NaN
            or infinite.
    """
    scores = reward.score(candidates, references)
    parts = {f"{reward.name}, total": scores.total, **scores.components}
    checked = {name: score_each(name, values, len(candidates)) for name, values in parts.items()}
    for name, values in checked.items():
        require_finite(name, values)
    total, *components = checked.values()
    return RewardScores(
        total=total, components=dict(zip(scores.components, components, strict=True))
    )


@contextmanager
def failures_as_reward_errors(name: str) -> Iterator[None]:
    """Turn whatever a scorer or annotator raises on its inputs into a RewardError.

    Args:
        name: Whose failure it is.

    Raises:
        RewardError: instead. Its message never holds report text: of an error that is not this
            package's it names the kind and the place, not the words.
        ScorerBugError: the scorer is wrong in itself.
        StorageError: there is no room for annotations.
    """
    try:
        with scoring(name):
            yield
    except (RewardError, StorageError, ScorerBugError):  # the last two are no fault of one group
        raise
    except EditGRPOError as error:
        raise RewardError(f"{name}: {error}") from error


class GuardedReward:
    """A reward with a time limit.

    Attributes:
        name: The reward's.
        component_names: The reward's.
    """

    def __init__(self, reward: Reward, *, timeout_s: float | None) -> None:
        """Take a reward.

        Args:
            reward: What scores.
            timeout_s: Longest a call may take; None sets no limit.
        """
        self.name = reward.name
        self.component_names = reward.component_names
        self._reward = reward
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._running: Future[RewardScores] | None = None

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        """Score each candidate against the reference at the same index.

        Args:
            candidates: N reports.
            references: N reference reports, in the same order.

        Returns:
            The total and every component for each of the N reports.

        Raises:
            RewardError: scoring failed, took longer than the limit, or an earlier call that did is
                still running.
        """
        # One call at a time, so that a thread does not take another's call for one that hangs.
        with failures_as_reward_errors(self.name), self._lock:
            return self._within_limit(lambda: checked_scores(self._reward, candidates, references))

    def _within_limit(self, call: Callable[[], RewardScores]) -> RewardScores:
        if self._timeout_s is None:
            return call()
        if self._running is not None and not self._running.done():
            raise RewardError(
                f"{self.name}: an earlier call is still running after {self._timeout_s:g} s"
            )
        future: Future[RewardScores] = Future()
        self._running = future
        # A daemon, unlike a pool's thread, does not keep a stopped run from ending.
        threading.Thread(target=_settle, args=(future, call), daemon=True).start()
        try:
            return future.result(self._timeout_s)
        except TimeoutError as error:
            if future.done():  # the scorer's own time-out, not ours
                raise
            raise RewardError(
                f"{self.name}: no scores after {self._timeout_s:g} s; "
                "raise reward.timeout_s if the models are slow here"
            ) from error


def _settle(future: "Future[RewardScores]", call: Callable[[], RewardScores]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # raised again by the thread that waits
        future.set_exception(error)
