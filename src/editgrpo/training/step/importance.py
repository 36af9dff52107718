"""How much a sampled token counts where another engine than the policy in training drew it.

vLLM computes log-probabilities by other kernels than the policy in training, so that a response
comes from a slightly different distribution. Each sampled token is therefore weighted by
p_training / p_vLLM, cut at a cap, as TRL does by `token_truncate`. Tokens that nobody sampled,
those of an edited response or of a reference report, have no such weight.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from editgrpo.training.sampling.sampler import SampledResponse
from editgrpo.training.step.responses import Group, Response


class SampleWeights:
    """The weights of a run's sampled tokens, and how far its engine is from its policy.

    Args:
        cap: Largest weight; None where the policy itself samples, whose tokens have none.
    """

    def __init__(self, cap: float | None) -> None:
        self._cap = cap
        self._gap: Tensor | None = None

    def inputs(self, groups: Sequence[Group], *, columns: int) -> dict[str, Tensor]:
        """Build what TRL's loss reads besides.

        Args:
            groups: P groups of G responses.
            columns: C, at least the length of the longest response.

        Returns:
            Nothing where the policy itself samples; else `sampling_per_token_logps`, (P*G, C)
            float32 (see `sampled_log_prob_rows`), and `importance_sampling_ratio`, the same shape.
            The ratios are known when the loss has asked for the log-probabilities of its pass, and
            read after: `weigh` fills them in.
        """
        if self._cap is None:
            return {}
        sampled_BC = sampled_log_prob_rows(groups, columns)
        return {
            "sampling_per_token_logps": sampled_BC,
            "importance_sampling_ratio": torch.ones_like(sampled_BC),
        }

    def weigh(self, log_probs_BC: Tensor, inputs: Mapping[str, Tensor]) -> None:
        """Fill in the ratios that the loss is about to read.

        With one update a step these log-probabilities are those before the update; TRL would spend
        a pass of its own on them.

        Args:
            log_probs_BC: (B, C) by the policy in training.
            inputs: What the loss reads, `inputs` among it.
        """
        if self._cap is None:
            return
        compared = (
            log_probs_BC,
            inputs["sampling_per_token_logps"],
            inputs["tool_mask"],  # tokens of dropped groups weigh nothing, and say nothing
        )
        inputs["importance_sampling_ratio"].copy_(importance_ratios(*compared, cap=self._cap))
        gap = sampling_gap(*compared, cap=self._cap)
        self._gap = gap if self._gap is None else self._gap + gap

    def take_metrics(
        self, add_up: Callable[[Tensor], Tensor], device: torch.device
    ) -> dict[str, float]:
        """Say how far the engine was from the policy since the last call.

        Args:
            add_up: Adds a tensor up over all processes, which call this together.
            device: Where their tensors are.

        Returns:
            `vllm/log_prob_gap`, the mean difference in nats a token, and `vllm/capped_share`;
            nothing where the policy itself samples.
        """
        if self._cap is None:
            return {}
        own, self._gap = self._gap, None
        summed = add_up(torch.zeros(3, device=device) if own is None else own)
        tokens, gap, capped = summed.tolist()
        tokens = max(tokens, 1.0)  # none if vLLM gave no log-probability
        return {"vllm/log_prob_gap": gap / tokens, "vllm/capped_share": capped / tokens}


def with_sampled_log_probs(
    groups: Sequence[Group], rollouts_PK: Sequence[Sequence[SampledResponse]]
) -> list[Group]:
    """Note in each response the log-probabilities that its tokens were sampled with.

    Args:
        groups: P groups whose first K responses are the sampled ones.
        rollouts_PK: For each the K responses.

    Returns:
        The groups. A response with the same tokens as the one that it was made from carries that
        one's; an edited response and a reference report have none.
    """
    return [
        _with_log_probs(group, rollouts)
        for group, rollouts in zip(groups, rollouts_PK, strict=True)
    ]


def _with_log_probs(group: Group, rollouts: Sequence[SampledResponse]) -> Group:
    def sampled(index: int, response: Response) -> tuple[float, ...] | None:
        source = index if index < len(rollouts) else response.source
        if source is None or response.token_ids != rollouts[source].token_ids:
            return None
        return rollouts[source].log_probs

    return replace(
        group,
        responses=tuple(
            replace(response, sampled_log_probs=sampled(index, response))
            for index, response in enumerate(group.responses)
        ),
    )


def sampled_log_prob_rows(groups: Sequence[Group], columns: int) -> Tensor:
    """Lay sampled log-probabilities out in rows, as TRL's loss reads responses.

    Args:
        groups: P groups of G responses.
        columns: C, at least the length of the longest response.

    Returns:
        (P*G, C) float32, NaN at padding and for tokens that nobody sampled.
    """
    responses = [response for group in groups for response in group.responses]
    rows_BC = torch.full((len(responses), columns), math.nan)
    for row, response in enumerate(responses):
        if response.sampled_log_probs is not None:
            values = torch.tensor(response.sampled_log_probs)
            rows_BC[row, : len(values)] = values
    return rows_BC


def importance_ratios(
    training_log_probs_BC: Tensor,
    sampled_log_probs_BC: Tensor,
    is_response_BC: Tensor,
    *,
    cap: float,
) -> Tensor:
    """Weigh each sampled token by how much likelier the policy in training finds it than vLLM did.

    Args:
        training_log_probs_BC: (B, C) log-probabilities by the policy in training before the update.
        sampled_log_probs_BC: (B, C) by vLLM; NaN for a token that nobody sampled or that vLLM gave
            none for.
        is_response_BC: (B, C) bool or 0/1, True at tokens of responses.
        cap: Largest weight.

    Returns:
        (B, C) float32 without gradient, above 0 and at most `cap`; 1 where there is nothing to
        compare, padding included.

    Source: TRL 1.16, `vllm_importance_sampling_mode="token_truncate"`:
    tests/training/step/test_importance.py.
    """
    difference_BC = _difference(training_log_probs_BC, sampled_log_probs_BC, is_response_BC)
    return difference_BC.nan_to_num(nan=0.0).exp().clamp(max=cap)


def sampling_gap(
    training_log_probs_BC: Tensor,
    sampled_log_probs_BC: Tensor,
    is_response_BC: Tensor,
    *,
    cap: float,
) -> Tensor:
    """Sum up how far vLLM is from the policy in training.

    Args:
        training_log_probs_BC: As for `importance_ratios`.
        sampled_log_probs_BC: As for `importance_ratios`.
        is_response_BC: As for `importance_ratios`.
        cap: As for `importance_ratios`.

    Returns:
        (3,) float32: how many tokens can be compared, the sum of their absolute differences of
        log-probabilities, and how many have a weight that is cut.
    """
    difference_BC = _difference(training_log_probs_BC, sampled_log_probs_BC, is_response_BC)
    compared = difference_BC[~difference_BC.isnan()]
    capped = compared > math.log(cap)
    return torch.stack([torch.ones_like(compared).sum(), compared.abs().sum(), capped.sum()])


def _difference(
    training_log_probs_BC: Tensor, sampled_log_probs_BC: Tensor, is_response_BC: Tensor
) -> Tensor:
    """Return log(p_training / p_vLLM) without gradient; NaN where there is nothing to compare."""
    difference_BC = training_log_probs_BC.detach().float() - sampled_log_probs_BC.float()
    return difference_BC.masked_fill(~is_response_BC.bool(), math.nan)
