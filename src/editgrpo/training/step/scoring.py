"""From groups to rewards and advantages; a scorer that fails costs its group, never a made-up
reward."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editgrpo.config import AdvantageScale, Baseline, Credit
from editgrpo.errors import RewardError
from editgrpo.rewards.guard import checked_scores
from editgrpo.rewards.types import Reward, RewardScores
from editgrpo.training.step.advantages import edit_gains, group_advantages
from editgrpo.training.step.responses import Group, Kind

_LOG = logging.getLogger(__name__)

# Rewards closer than this are one reward; they are sums of fractions in float64.
SAME_REWARD = 1e-9
# Advantages are computed in float32: a mean of rewards up to 3 is off by some 1e-7.
_NO_ADVANTAGE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredGroup:
    """A group with its rewards.

    Attributes:
        group: The responses.
        totals_G: Total reward of each response; empty if the group was dropped.
        components: Component name to its value for each response; empty if the group was dropped.
        advantages_G: Advantage of each response; zeros if the group was dropped.
        failure: Why scoring failed, None if it did not; a dropped group takes no part in the
            update.
    """

    group: Group
    totals_G: tuple[float, ...]
    components: Mapping[str, tuple[float, ...]]
    advantages_G: tuple[float, ...]
    failure: str | None = None

    @property
    def is_dropped(self) -> bool:
        """Whether scoring failed."""
        return self.failure is not None

    @property
    def has_signal(self) -> bool:
        """Whether there is anything to learn from it."""
        return not self.is_dropped and not teaches_nothing(self.totals_G, self.advantages_G)


def teaches_nothing(totals_G: Sequence[float], advantages_G: Sequence[float]) -> bool:
    """Say whether the advantages of a group are all 0, whatever its rewards are measured against.

    Args:
        totals_G: Rewards, at least one.
        advantages_G: As many advantages.

    Returns:
        Whether all are 0 but for rounding. So they are of rewards that are all one, whose rounding
        a division by their spread would blow up; and of halves that are measured apart and are
        each equal in itself.
    """
    if max(totals_G) - min(totals_G) <= SAME_REWARD:
        return True
    return all(abs(advantage) <= _NO_ADVANTAGE for advantage in advantages_G)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measure:
    """How rewards become advantages."""

    scale: AdvantageScale
    baseline: Baseline
    credit: Credit

    def advantages(self, groups: Sequence[Group], rewards_B: Tensor) -> Tensor:
        responses = [response for group in groups for response in group.responses]
        size = len(groups[0].responses)
        advantages_B = group_advantages(
            rewards_B,
            size,
            scale=self.scale,
            baseline=self.baseline,
            is_sampled_B=torch.tensor([one.kind is Kind.SAMPLED for one in responses]),
        )
        if self.credit is Credit.RESPONSE:
            return advantages_B
        rows = range(len(responses))
        is_edited = [one.kind is Kind.EDITED and one.source is not None for one in responses]
        source_B = [
            row - row % size + (responses[row].source or 0) if is_edited[row] else row
            for row in rows
        ]
        gains_B = edit_gains(rewards_B, torch.tensor(source_B), size, scale=self.scale)
        return torch.where(torch.tensor(is_edited), gains_B, advantages_B)


def score_groups(
    reward: Reward,
    groups: Sequence[Group],
    *,
    scale: AdvantageScale,
    baseline: Baseline = Baseline.GROUP,
    credit: Credit = Credit.RESPONSE,
) -> list[ScoredGroup]:
    """Score groups of equal size, all in one call; if that fails, each group on its own.

    Args:
        reward: Scores a candidate report against its reference.
        groups: P groups of G responses.
        scale: See `group_advantages`.
        baseline: See `group_advantages`.
        credit: With another than RESPONSE the advantage of an edited response is its gain (see
            `edit_gains`).

    Returns:
        The scored groups, in the same order; those whose own editing or scoring failed are
        dropped.
    """
    measure = _Measure(scale=scale, baseline=baseline, credit=credit)
    intact = [group for group in groups if group.failure is None]
    try:
        scored = iter(_score_together(reward, intact, measure))
    except RewardError:
        scored = iter([_score_alone(reward, group, measure) for group in intact])
    return [
        next(scored) if group.failure is None else _dropped(group, group.failure)
        for group in groups
    ]


def _score_together(
    reward: Reward, groups: Sequence[Group], measure: _Measure
) -> list[ScoredGroup]:
    if not groups:
        return []
    candidates = [response.text for group in groups for response in group.responses]
    references = [group.reference for group in groups for _ in group.responses]
    scores = checked_scores(reward, candidates, references)
    size = len(groups[0].responses)
    rewards_B = torch.tensor(scores.total, dtype=torch.float32)
    advantages_B = measure.advantages(groups, rewards_B)
    return [
        _scored(group, scores, advantages_B, slice(index * size, (index + 1) * size))
        for index, group in enumerate(groups)
    ]


def _scored(group: Group, scores: RewardScores, advantages_B: Tensor, rows: slice) -> ScoredGroup:
    return ScoredGroup(
        group=group,
        totals_G=tuple(scores.total[rows].tolist()),
        components={
            name: tuple(values[rows].tolist()) for name, values in scores.components.items()
        },
        advantages_G=tuple(advantages_B[rows].tolist()),
    )


def _score_alone(reward: Reward, group: Group, measure: _Measure) -> ScoredGroup:
    try:
        return _score_together(reward, [group], measure)[0]
    except RewardError as error:
        _LOG.warning("study %s: its group is dropped, scoring failed: %s", group.study_id, error)
        return _dropped(group, str(error))


def _dropped(group: Group, failure: str) -> ScoredGroup:
    return ScoredGroup(
        group=group,
        totals_G=(),
        components={},
        advantages_G=(0.0,) * len(group.responses),
        failure=failure,
    )
