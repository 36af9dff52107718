"""Rewards: the sum of metrics that training optimises."""

from editgrpo.metrics.loading import load_metric_labeler
from editgrpo.rewards.components import COMPONENT_NAMES, load_component
from editgrpo.rewards.registry import REWARD_NAMES, configured_reward, load_reward
from editgrpo.rewards.types import Reward, RewardScores

__all__ = [
    "COMPONENT_NAMES",
    "REWARD_NAMES",
    "Reward",
    "RewardScores",
    "configured_reward",
    "load_component",
    "load_metric_labeler",
    "load_reward",
]
