"""verl: the function that `reward.custom_reward_function` names.

Run inside verl 0.9.1 by tests/trainers/test_verl.py: verl/trainer/ppo/reward.py (a path may be
`pkg://editgrpo.adapters.verl`, verl/utils/import_utils.py) and the manager that calls it,
verl/experimental/reward_loop/reward_manager/naive.py. `reward_kwargs` are the arguments after
`extra_info`.

verl has no "no reward": a report that cannot be scored ends the run with the RewardError.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from editgrpo.adapters.reward import load_shared_reward
from editgrpo.clinical.shared import shared
from editgrpo.metrics.judges.costs import log_costs
from editgrpo.rewards import Reward
from editgrpo.rewards.guard import checked_scores

_GATHER_S = 0.005
"""How long the others get to ask before a batch is scored, in seconds."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    **settings: Any,
) -> dict[str, float]:
    """Score one report; for the reward manager `naive`.

    The manager asks for many reports at once, each in a thread of its own; what is asked for while
    a batch is scored makes up the next batch.

    Args:
        data_source: Not used.
        solution_str: The generated report.
        ground_truth: The reference report.
        extra_info: Not used.
        **settings: Arguments of `load_shared_reward`.

    Returns:
        `score`, and every component by its name.

    Raises:
        RewardError: the report cannot be scored.
    """
    reward = load_shared_reward(**settings)
    gathered = shared(("verl", id(reward)), lambda: _GatheredReward(reward))
    return gathered.score(solution_str, ground_truth)


def _score(
    reward: Reward, candidates: Sequence[str], references: Sequence[str]
) -> list[dict[str, float]]:
    scores = checked_scores(reward, list(candidates), list(references))
    log_costs("reward")
    columns = {"score": scores.total, **scores.components}
    return [
        {name: float(values[row]) for name, values in columns.items()}
        for row in range(len(candidates))
    ]


class _GatheredReward:
    """Scores in one call what several threads ask for at the same time."""

    def __init__(self, reward: Reward) -> None:
        self._reward = reward
        self._lock = threading.Lock()
        self._is_scoring = False
        self._asked: list[tuple[str, str, Future[dict[str, float]]]] = []

    def score(self, candidate: str, reference: str) -> dict[str, float]:
        """Return the score of a report; one of the threads that ask scores for all of them."""
        future: Future[dict[str, float]] = Future()
        with self._lock:
            self._asked.append((candidate, reference, future))
            leads, self._is_scoring = not self._is_scoring, True
        if leads:
            self._score_until_none_asks()
        return future.result()

    def _score_until_none_asks(self) -> None:
        while True:
            time.sleep(_GATHER_S)
            with self._lock:
                asked, self._asked = self._asked, []
                if not asked:
                    self._is_scoring = False
                    return
            self._settle(asked)

    def _settle(self, asked: Sequence[tuple[str, str, "Future[dict[str, float]]"]]) -> None:
        try:
            scores = _score(self._reward, [one[0] for one in asked], [one[1] for one in asked])
        except BaseException as error:  # raised again by every thread that waits
            for _, _, future in asked:
                future.set_exception(error)
            return
        for (_, _, future), score in zip(asked, scores, strict=True):
            future.set_result(score)
