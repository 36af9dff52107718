"""The plain path: every response a row of its own after its prompt, through the stock model.

Any model of transformers can be trained so, at the price of computing a prompt and its images once
a response. It is what the packed pass is held to, and what serves a family that this package does
not know.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from editgrpo.config import TrainConfig
from editgrpo.errors import ConfigError, TrainingError
from editgrpo.training.policy.model import Policy
from editgrpo.training.policy.processor import EncodedPrompt, stands_for_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainGroup:
    """One prompt and the responses to it.

    Attributes:
        prompt_T: (T,) int64, the prompt's token ids.
        inputs: What the stock forward takes besides, for one row.
        responses: Token ids.
    """

    prompt_T: Tensor
    inputs: Mapping[str, Tensor]
    responses: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainGroups:
    """Groups to score, R response tokens in all.

    Attributes:
        groups: Prompts with their responses.
        is_response_BC: (B, C) bool, one row a response, C the longest; True at its tokens.
        budget: Most tokens of a forward pass; a response that is longer has a pass of its own.
    """

    groups: tuple[PlainGroup, ...]
    is_response_BC: Tensor
    budget: int

    def to(self, device: torch.device | str) -> "PlainGroups":
        """Return the same groups with every tensor on a device."""
        groups = tuple(
            replace(
                group,
                prompt_T=group.prompt_T.to(device),
                inputs={name: value.to(device) for name, value in group.inputs.items()},
            )
            for group in self.groups
        )
        return replace(self, groups=groups, is_response_BC=self.is_response_BC.to(device))

    def rows(self, values_R: Tensor) -> Tensor:
        """Lay values of response tokens out in rows: (R,) to (B, C), 0 at padding."""
        zeros = values_R.new_zeros(self.is_response_BC.shape)
        return zeros.masked_scatter(self.is_response_BC, values_R)


def plain_groups(
    prompts: Sequence[EncodedPrompt],
    responses_PG: Sequence[Sequence[Sequence[int]]],
    *,
    budget: int,
) -> PlainGroups:
    """Put groups together.

    Args:
        prompts: P prompts, with their images.
        responses_PG: For each prompt its responses as token ids, each with at least one token.
        budget: See `PlainGroups`.

    Returns:
        The groups, on the CPU.

    Raises:
        DataError: patches of an image were left out (the message names the study).
        TrainingError: a response is empty.
    """
    lengths_B = torch.tensor([len(response) for group in responses_PG for response in group])
    if not bool((lengths_B > 0).all()):
        raise TrainingError("a response has no token; it needs at least its end-of-sequence token")
    return PlainGroups(
        groups=tuple(
            PlainGroup(
                prompt_T=prompt.input_ids_T,
                inputs=prompt.stock_inputs(),
                responses=tuple(tuple(response) for response in group),
            )
            for prompt, group in zip(prompts, responses_PG, strict=True)
        ),
        is_response_BC=torch.arange(int(lengths_B.max())) < lengths_B[:, None],
        budget=budget,
    )


def check_plain_path(config: TrainConfig, *, processes: int, is_sharded: bool) -> None:
    """Refuse a launch that the plain path does not serve.

    Args:
        config: The run.
        processes: How many train together.
        is_sharded: Whether FSDP or DeepSpeed shards the model.

    Raises:
        ConfigError: the model is not whole in each process, or several train its vision tower.
    """
    # A study without images would leave a trained tower without gradients, and DDP waiting.
    is_shared_tower = processes > 1 and not config.model.freeze_vision_tower
    if is_sharded or is_shared_tower:
        raise ConfigError(
            "the plain path (model.group_pass) needs a model that is whole in each process, and "
            "with several of them a frozen vision tower; launch with DDP, and set "
            "model.freeze_vision_tower=true"
        )


def add_plain_pass(model: Policy, *, temperature: float) -> None:
    """Let a model's forward take `packed=PlainGroups`; without it the model stays as it is.

    Args:
        model: The model, not yet wrapped by PEFT or DDP.
        temperature: Logits are divided by it, as when the responses were sampled.
    """
    stock = model.forward

    # The signature stays: transformers checks arguments against it.
    @functools.wraps(type(model).forward)
    def forward(self: Any, *arguments: Any, packed: Any = None, **keywords: Any) -> Any:
        if packed is None:
            return stock(*arguments, **keywords)
        return _plain_pass(stock, packed, temperature)

    model.forward = MethodType(forward, model)


def repeated(
    inputs: Mapping[str, Tensor], rows: int, *, more: int, tokens: int
) -> dict[str, Tensor]:
    """Repeat what belongs to one row for several that follow it.

    Args:
        inputs: From `EncodedPrompt.stock_inputs`.
        rows: How many rows.
        more: Tokens behind the prompt, to which the inputs say 0.
        tokens: T, of the prompt.

    Returns:
        The inputs of the rows. What stands for images comes once a row, one row after another.
    """
    return {
        name: torch.nn.functional.pad(value, (0, more)).expand(rows, -1)
        if stands_for_tokens(value, tokens)
        else value.repeat(rows, *[1] * (value.dim() - 1))
        for name, value in inputs.items()
    }


def last_logits(forward: Callable[..., Any], count: int) -> dict[str, int]:
    """Return what to pass to a forward so that it computes no more logits than the last ones, if it
    can be told."""
    can_be_told = "logits_to_keep" in inspect.signature(forward).parameters
    return {"logits_to_keep": count} if can_be_told else {}


def _plain_pass(
    stock: Callable[..., Any], packed: PlainGroups, temperature: float
) -> tuple[Tensor, Tensor]:
    parts = [(group, chunk) for group in packed.groups for chunk in _chunks(group, packed.budget)]
    if len(parts) == 1 or not torch.is_grad_enabled():
        scored = [_score_rows(stock, *part, temperature) for part in parts]
    else:  # one chunk's activations at a time, as one that is longer than the budget would have
        scored = [
            checkpoint(_score_rows, stock, *part, temperature, use_reentrant=False)
            for part in parts
        ]
    log_probs, entropies = zip(*scored, strict=True)
    return torch.cat(log_probs), torch.cat(entropies)


def _chunks(group: PlainGroup, budget: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    longest = group.prompt_T.shape[0] + max(map(len, group.responses))
    size = max(1, budget // longest)
    for start in range(0, len(group.responses), size):
        yield group.responses[start : start + size]


def _score_rows(
    stock: Callable[..., Any],
    group: PlainGroup,
    responses: Sequence[Sequence[int]],
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Score some responses: log-probabilities and entropies of their tokens, one after another."""
    prompt_T, device = group.prompt_T, group.prompt_T.device
    tokens, lengths = prompt_T.shape[0], [len(response) for response in responses]
    longest, rows = max(lengths), len(responses)
    is_token_BC = torch.arange(longest) < torch.tensor(lengths)[:, None]
    target_BC = torch.zeros(rows, longest, dtype=torch.long)
    target_BC[is_token_BC] = torch.tensor([token for response in responses for token in response])
    is_token_BC, target_BC = is_token_BC.to(device), target_BC.to(device)
    # Padded on the right: a token there is seen by none before it.
    logits_BLV = stock(
        input_ids=torch.cat([prompt_T.expand(rows, -1), target_BC], dim=1),
        attention_mask=torch.cat(
            [torch.ones(rows, tokens, dtype=torch.long, device=device), is_token_BC.long()], dim=1
        ),
        use_cache=False,
        **last_logits(stock, longest + 1),
        **repeated(group.inputs, rows, more=longest, tokens=tokens),
    ).logits
    log_probs_BCV = (logits_BLV[:, -longest - 1 : -1].float() / temperature).log_softmax(dim=-1)
    with torch.no_grad():
        entropies_BC = -(log_probs_BCV.exp() * log_probs_BCV).sum(dim=-1)
    log_probs_BC = log_probs_BCV.gather(2, target_BC[:, :, None])[:, :, 0]
    return log_probs_BC[is_token_BC], entropies_BC[is_token_BC]
