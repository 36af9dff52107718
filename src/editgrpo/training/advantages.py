"""How a response is measured against the others of its group."""

import torch
from torch import Tensor

from editgrpo.config import AdvantageScale
from editgrpo.errors import ConfigError, RewardError

# Keeps a group of nearly equal rewards from blowing up; TRL's value.
_STD_EPSILON = 1e-4


def group_advantages(rewards_B: Tensor, group_size: int, *, scale: AdvantageScale) -> Tensor:
    """Centre each reward on the mean of its group.

    Args:
        rewards_B: (P*G,) float32, any finite range; the G responses of one prompt are adjacent.
        group_size: G, at least 2.
        scale: NONE keeps centred rewards (Dr. GRPO); GROUP divides by the unbiased standard
            deviation + 1e-4.

    Returns:
        (P*G,) float32 in the input order; a group of equal rewards gives zeros.

    Raises:
        RewardError: a reward is NaN or infinite (the message names prompt and response index).
        ConfigError: the number of rewards is not a multiple of group_size, or group_size is below
            2.

    Source: EditGRPO arXiv:2509.22812 (unnormalised advantages). Equals TRL's `scale_rewards` "none"
        and "group":
    tests/parity/test_trl_advantages.py.
    """
    if group_size < 2 or rewards_B.shape[0] % group_size != 0:
        raise ConfigError(
            f"{rewards_B.shape[0]} rewards do not form groups of {group_size}; use at least 2 and "
            f"a "
            "multiple"
        )
    if not bool(torch.isfinite(rewards_B).all()):
        index = int((~torch.isfinite(rewards_B)).nonzero()[0])
        raise RewardError(
            f"the reward of response {index % group_size} of prompt {index // group_size} is not "
            "finite; a scorer must raise instead"
        )
    rewards_PG = rewards_B.view(-1, group_size)
    centred_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    if scale is AdvantageScale.GROUP:
        centred_PG = centred_PG / (rewards_PG.std(dim=1, keepdim=True) + _STD_EPSILON)
    return centred_PG.reshape(-1)
