"""Sampling K responses for each prompt: the prompt is computed once, its key/value cache is shared
by the K rows.

Sampling is by inversion: one uniform number a token, drawn beforehand for each row (seeds.py),
turned into a token by the cumulative distribution. A row's draws depend on nothing but its own
coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editgrpo.training.language import prompt_positions
from editgrpo.training.processor import EncodedPrompt, check_image_tokens, join_images


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSettings:
    """How responses are drawn."""

    max_tokens: int
    """Longest response, its end-of-sequence token included."""
    eos_token_ids: tuple[int, ...]
    """Tokens that end a response."""
    pad_token_id: int
    """Fills shorter prompts."""
    temperature: float = 1.0
    """Logits are divided by it; 0 takes the likeliest token."""
    forbidden_token_ids: tuple[int, ...] = ()
    """Never drawn: a sampled image token would stand for an image that is not there."""


@torch.no_grad()
def sample_responses(
    model: Any,
    prompts: Sequence[EncodedPrompt],
    uniforms_PK_T: Tensor,
    settings: SamplingSettings,
) -> list[list[list[int]]]:
    """Sample K responses for each of P prompts.

    Args:
        model: The policy, unwrapped, in evaluation mode.
        prompts: P prompts.
        uniforms_PK_T: (P, K, max_tokens) float64 in [0, 1), one draw a token; only its shape counts
            at temperature 0.
        settings: How to draw.

    Returns:
        For each prompt K lists of token ids. A list ends with its end-of-sequence token unless it
        reached max_tokens.

    Raises:
        DataError: a prompt's image tokens do not match its images (the message names the study).
    """
    samples = uniforms_PK_T.shape[1]
    logits, cache, mask, next_position = _prefill(model, prompts, settings.pad_token_id)
    logits = logits.repeat_interleave(samples, dim=0)
    cache.batch_repeat_interleave(samples)
    rows = _Rows(
        mask_BL=mask.repeat_interleave(samples, dim=0),
        next_position_B=next_position.repeat_interleave(samples),
        uniforms_BT=uniforms_PK_T.reshape(len(prompts) * samples, -1).to(logits.device),
        row_B=torch.arange(len(prompts) * samples, device=logits.device),
    )
    responses: list[list[int]] = [[] for _ in range(len(prompts) * samples)]
    eos = torch.tensor(settings.eos_token_ids, device=logits.device)
    for step in range(settings.max_tokens):
        tokens_B = _draw(logits, rows.uniforms_BT[:, step], settings)
        for row, token in zip(rows.row_B.tolist(), tokens_B.tolist(), strict=True):
            responses[row].append(token)
        is_running_B = ~torch.isin(tokens_B, eos)
        if step + 1 == settings.max_tokens or not bool(is_running_B.any()):
            break
        if bool((~is_running_B).any()):
            running = is_running_B.nonzero()[:, 0]
            cache.batch_select_indices(running)
            rows, tokens_B = rows.select(running), tokens_B[running]
        logits = _decode(model, tokens_B, cache, rows)
        rows = rows.advance()
    return [responses[i * samples : (i + 1) * samples] for i in range(len(prompts))]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows that have not ended yet."""

    mask_BL: Tensor
    next_position_B: Tensor
    uniforms_BT: Tensor
    row_B: Tensor

    def select(self, index: Tensor) -> "_Rows":
        return _Rows(
            self.mask_BL[index],
            self.next_position_B[index],
            self.uniforms_BT[index],
            self.row_B[index],
        )

    def advance(self) -> "_Rows":
        ones = self.mask_BL.new_ones(self.mask_BL.shape[0], 1)
        return _Rows(
            torch.cat([self.mask_BL, ones], dim=1),
            self.next_position_B + 1,
            self.uniforms_BT,
            self.row_B,
        )


def _prefill(
    model: Any, prompts: Sequence[EncodedPrompt], pad_token_id: int
) -> tuple[Tensor, Any, Tensor, Tensor]:
    merge_size = int(model.config.vision_config.spatial_merge_size)
    length = max(prompt.input_ids_T.shape[0] for prompt in prompts)
    input_ids = torch.full((len(prompts), length), pad_token_id)
    # One column more than the prompt: the mask of the first decoding step.
    mask = torch.ones(len(prompts), length + 1, dtype=torch.long)
    positions = torch.zeros(3, len(prompts), length, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        check_image_tokens(prompt, merge_size)
        padding = length - prompt.input_ids_T.shape[0]
        input_ids[row, padding:] = prompt.input_ids_T
        mask[row, :padding] = 0
        positions[:, row, padding:] = prompt_positions(model, prompt)
    device = model.device
    images = {name: value.to(device) for name, value in join_images(prompts).items()}
    if images:
        images["pixel_values"] = images["pixel_values"].to(model.dtype)
    outputs = model(
        input_ids=input_ids.to(device),
        attention_mask=mask[:, :-1].to(device),
        position_ids=positions.to(device),
        use_cache=True,
        logits_to_keep=1,
        **images,
    )
    next_position = positions.amax(dim=(0, 2)) + 1
    return outputs.logits[:, -1], outputs.past_key_values, mask.to(device), next_position.to(device)


def _decode(model: Any, tokens_B: Tensor, cache: Any, rows: _Rows) -> Tensor:
    outputs = model(
        input_ids=tokens_B[:, None],
        attention_mask=rows.mask_BL,
        position_ids=rows.next_position_B[None, :, None].expand(3, -1, 1),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: Tensor = outputs.logits[:, -1]
    return logits


def _draw(logits_BV: Tensor, uniforms_B: Tensor, settings: SamplingSettings) -> Tensor:
    if settings.forbidden_token_ids:
        forbidden = torch.tensor(settings.forbidden_token_ids, device=logits_BV.device)
        logits_BV = logits_BV.index_fill(1, forbidden, float("-inf"))
    if settings.temperature == 0:
        return logits_BV.argmax(dim=-1)
    # float64: a cumulative sum over 150,000 tokens in float32 loses the tail.
    cumulative_BV = (logits_BV.double() / settings.temperature).softmax(dim=-1).cumsum(dim=-1)
    targets_B1 = uniforms_B[:, None].to(cumulative_BV) * cumulative_BV[:, -1:]
    return torch.searchsorted(cumulative_BV, targets_B1, right=True)[:, 0].clamp(
        max=logits_BV.shape[1] - 1
    )
