"""Drawing tokens from logits."""

import torch
from torch import Tensor

from editgrpo.training.policy.generation_tokens import SamplingSettings


def draw(logits_BV: Tensor, uniforms_BK: Tensor, settings: SamplingSettings) -> Tensor:
    """Draw tokens.

    Args:
        logits_BV: (B, V) of any number format.
        uniforms_BK: (B, K) float64 in [0, 1): what decides each draw.
        settings: Temperature, and what is never drawn.

    Returns:
        (B, K) int64, K tokens of each distribution.
    """
    if settings.forbidden_token_ids:
        forbidden = torch.tensor(settings.forbidden_token_ids, device=logits_BV.device)
        logits_BV = logits_BV.index_fill(1, forbidden, float("-inf"))
    if settings.temperature == 0:
        return logits_BV.argmax(dim=-1, keepdim=True).expand(uniforms_BK.shape)
    # float64: a cumulative sum over 150,000 tokens in float32 loses the tail.
    cumulative_BV = (logits_BV.double() / settings.temperature).softmax(dim=-1).cumsum(dim=-1)
    targets_BK = uniforms_BK.to(cumulative_BV) * cumulative_BV[:, -1:]
    return torch.searchsorted(cumulative_BV, targets_BK, right=True).clamp(
        max=logits_BV.shape[1] - 1
    )
