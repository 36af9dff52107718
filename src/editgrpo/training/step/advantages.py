"""How a response is measured against the others of its group."""

import torch
from torch import Tensor

from editgrpo.config import AdvantageScale, Baseline
from editgrpo.errors import ConfigError, RewardError

# Keeps a group of nearly equal rewards from blowing up; TRL's value.
_STD_EPSILON = 1e-4


def group_advantages(
    rewards_B: Tensor,
    group_size: int,
    *,
    scale: AdvantageScale,
    baseline: Baseline = Baseline.GROUP,
    is_sampled_B: Tensor | None = None,
) -> Tensor:
    """Centre each reward on the mean of its group, or of a part of it.

    Args:
        rewards_B: (P*G,) float32, any finite range; the G responses of one prompt are adjacent.
        group_size: G, at least 2.
        scale: NONE keeps centred rewards (Dr. GRPO); GROUP divides by the unbiased standard
            deviation of the whole group + 1e-4.
        baseline: Whose mean is taken off; the paper's is GROUP.
        is_sampled_B: (P*G,) bool, True for sampled responses, at least one a group; None where all
            are.

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
    if baseline is Baseline.GROUP or is_sampled_B is None:
        baseline_PG = rewards_PG.mean(dim=1, keepdim=True)
    else:
        is_sampled_PG = is_sampled_B.view(-1, group_size)
        baseline_PG = _mean_where(rewards_PG, is_sampled_PG)
        if baseline is Baseline.HALVES:
            others_P1 = _mean_where(rewards_PG, ~is_sampled_PG)
            baseline_PG = torch.where(is_sampled_PG, baseline_PG, others_P1)
    centred_PG = rewards_PG - baseline_PG
    if scale is AdvantageScale.GROUP:
        centred_PG = centred_PG / _spread(rewards_PG)
    return centred_PG.reshape(-1)


def edit_gains(
    rewards_B: Tensor, source_B: Tensor, group_size: int, *, scale: AdvantageScale
) -> Tensor:
    """Measure each edited response against the rollout that it was made from.

    Args:
        rewards_B: (P*G,) float32, finite; the G responses of one prompt are adjacent.
        source_B: (P*G,) int64, for each response the row of that rollout; its own for others.
        group_size: G.
        scale: See `group_advantages`.

    Returns:
        (P*G,) float32, R(edit) - R(source), scaled like advantages; 0 for others.
    """
    gains_PG = (rewards_B - rewards_B[source_B]).view(-1, group_size)
    if scale is AdvantageScale.GROUP:
        gains_PG = gains_PG / _spread(rewards_B.view(-1, group_size))
    return gains_PG.reshape(-1)


def _mean_where(rewards_PG: Tensor, is_counted_PG: Tensor) -> Tensor:
    """Return (P, 1), the mean of the counted rewards of each group; 0 where there are none."""
    counts_P1 = is_counted_PG.sum(dim=1, keepdim=True).clamp(min=1)
    return (rewards_PG * is_counted_PG).sum(dim=1, keepdim=True) / counts_P1


def _spread(rewards_PG: Tensor) -> Tensor:
    """Return (P, 1), what the advantages of a group are divided by."""
    return rewards_PG.std(dim=1, keepdim=True) + _STD_EPSILON
