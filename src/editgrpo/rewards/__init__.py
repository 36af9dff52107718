"""Rewards: one file a metric, and the composite that training optimises."""

from editgrpo.rewards.registry import REWARD_NAMES, load_reward, load_reward_labeler
from editgrpo.rewards.types import Reward, RewardScores

__all__ = ["REWARD_NAMES", "Reward", "RewardScores", "load_reward", "load_reward_labeler"]
