"""A reward for reports of findings and impression: each section against its own reference."""

from collections.abc import Sequence

from editgrpo.config import Section, Target
from editgrpo.reports.headings import in_sections
from editgrpo.rewards.types import Reward, RewardScores


def reward_of_target(reward: Reward, target: Target) -> Reward:
    """Return what scores reports of a target: both sections one by one, else the reward."""
    return SectionedReward(reward) if target is Target.BOTH else reward


class SectionedReward:
    """The mean of a reward over both sections of a report.

    A section that a candidate lacks is scored as an empty report, so it pays to write both, each in
    its place: an impression that only repeats findings earns nothing twice.

    Attributes:
        name: The reward's.
        component_names: The reward's.

    Args:
        reward: Scores one section as it scores a report.
    """

    def __init__(self, reward: Reward) -> None:
        self.name = reward.name
        self.component_names = reward.component_names
        self._reward = reward

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        """Score each candidate against the reference at the same index.

        Args:
            candidates: N reports, see `read_passages`.
            references: N reference reports, in the same order.

        Returns:
            The total and every component for each of the N reports, means over both sections.

        Raises:
            RewardError: see `Reward.score`.
        """
        scores = self._reward.score(in_sections(candidates), in_sections(references))
        each = (-1, len(Section))
        return RewardScores(
            total=scores.total.reshape(each).mean(axis=1),
            components={
                name: values.reshape(each).mean(axis=1)
                for name, values in scores.components.items()
            },
        )
