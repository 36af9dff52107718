"""The KL term of the paper: k3, clamped, a plain term of the loss.

TRL has the same estimator without the clamp, and multiplies it by the probability ratio unless told
otherwise. The value stays k3 at a ratio of 1, but the gradient does not: log(pi/ref) in place of
1 - ref/pi (`KLTerm`).
"""

import torch
from torch import Tensor

from editgrpo.config import LossType

K3_LIMIT = 10.0
"""Most that one token adds, as in the paper's reference code (`low_var_kl`)."""

# Both ends are far behind the limit (k3 of 20 is 5e8, of -20 it is 19), so the value is the same;
# without them e^x is infinite from 89 on, and the gradient of the clamp is 0 x inf = NaN. Also of
# the reference code.
_LOG_RATIO_LIMIT = 20.0


def k3_divergence(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """Estimate the divergence of the policy from the reference at every token.

    Args:
        log_probs: Of the tokens under the policy, in nats, any shape.
        reference_log_probs: Under the reference, the same shape.

    Returns:
        e^d - d - 1 with d = reference - policy, at most `K3_LIMIT`, where its gradient is 0; below,
        its gradient with respect to the policy's log-probability is 1 - e^d.

    Source: EditGRPO arXiv:2509.22812, `low_var_kl` of the reference code;
    tests/training/test_objective.py.
    """
    difference = (reference_log_probs - log_probs).clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT)
    return (difference.exp() - difference - 1).clamp(max=K3_LIMIT)  # it is never negative


def aggregate_tokens(
    values_BC: Tensor, is_counted_BC: Tensor, loss: LossType, *, constant: int
) -> Tensor:
    """Aggregate token losses as TRL does for the policy's part of the loss.

    Args:
        values_BC: (B, C) float32, a value of each token; one row a response.
        is_counted_BC: (B, C), 1 for the tokens that count.
        loss: `dr_grpo`: the sum of a response's tokens, divided by a constant; `grpo`: their mean;
            either is averaged over the responses.
        constant: Dr. GRPO's, the length limit of a response.

    Returns:
        () float32.
    """
    sums_B = (values_BC * is_counted_BC).sum(dim=1)
    if loss is LossType.DR_GRPO:
        return sums_B.mean() / constant
    return (sums_B / is_counted_BC.sum(dim=1).clamp(min=1)).mean()


def counted_sums(values_BC: Tensor, is_counted_BC: Tensor) -> Tensor:
    """Return what a mean over tokens of several processes is made of.

    Args:
        values_BC: (B, C) float32.
        is_counted_BC: (B, C), 1 for the tokens that count.

    Returns:
        (3,) float32 without gradient: the sum of the values, how many tokens have the most that k3
        can be, and how many there are.
    """
    values_BC = values_BC.detach()
    is_at_limit_BC = (values_BC >= K3_LIMIT) * is_counted_BC
    sums = ((values_BC * is_counted_BC).sum(), is_at_limit_BC.sum(), is_counted_BC.sum())
    return torch.stack([one.float() for one in sums])
