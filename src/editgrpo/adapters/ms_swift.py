"""ms-swift: a class for `orms`, the outcome reward models that `--reward_funcs` names.

Run inside ms-swift 4.6.0 by tests/trainers/test_ms_swift.py: swift/rewards/orm.py (`ORM`: made with
`args`, called with completions and the data set's columns) and swift/rl_core/grpo_algorithm.py
(`compute_rewards_per_func`, which calls it by position). The class has the form of an ORM without
being derived from it, so that ms-swift is not imported here.

A report that cannot be scored ends the run: ms-swift would sum a None or NaN as 0
(swift/rl_core/advantage.py, `nansum`), and 0 is a reward.
"""

from collections.abc import Sequence
from typing import Any

from editgrpo.adapters.reward import load_shared_reward
from editgrpo.metrics.judges.costs import log_costs
from editgrpo.rewards.guard import checked_scores


def outcome_reward(*, column: str = "solution", **settings: Any) -> type:
    """Make a class to register: `orms["editgrpo"] = outcome_reward(name="paper")`.

    Args:
        column: The data set's column with the reference reports. ms-swift takes `response` and
            assistant messages away, so it is a column beside the messages.
        **settings: Arguments of `load_shared_reward`.

    Returns:
        A class of outcome rewards; the reward is loaded when it is made.
    """

    class EditGRPOReward:
        """The reward in the form of ms-swift's ORM."""

        def __init__(self, args: Any = None, **_: Any) -> None:
            self.args = args
            self._reward = load_shared_reward(**settings)

        def __call__(self, completions: Sequence[str], **columns: Any) -> list[float]:
            scores = checked_scores(self._reward, list(completions), list(columns[column]))
            log_costs("reward")
            return [float(value) for value in scores.total]

    return EditGRPOReward
