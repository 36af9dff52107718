"""One forward pass for a whole group: the prompt once, all of its responses behind it.

A group is packed into one row, `[prompt without its last token | r_1 | ... | r_G]`. Each response
segment starts with a copy of the prompt's last token, which predicts the response's first token,
and ends with the response's last but one token, which predicts its last. A segment sees the prompt
and itself, never another segment, and its positions start again where the prompt's end, so every
log-probability equals that of the response alone behind its prompt: the same numbers as G separate
rows, with each prompt token and each image computed once (tests/parity/test_shared_prefix.py).

Left out on purpose: which responses stand in a group, and what is done with the log-probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from editgrpo.errors import TrainingError
from editgrpo.training.language import prompt_positions
from editgrpo.training.processor import EncodedPrompt, check_image_tokens, join_images

IGNORED_LABEL = -100
_PADDING = -1
_PROMPT = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedGroups:
    """P groups of G responses, one group a row, L tokens at most.

    Attributes:
        input_ids_PL: (P, L) int64, padded on the right.
        position_ids: (3, P, L) int64, time, height and width positions of M-RoPE.
        may_attend_P1LL: (P, 1, L, L) bool, True where a query (row) sees a key (column).
        labels_PL: (P, L) int64, the token that each position predicts; -100 where nothing is
            scored.
        response_index_BC: (P*G, C) int64, the column in its row that predicts token c of a
            response; 0 for padding.
        is_response_BC: (P*G, C) bool, True at tokens of a response, its end-of-sequence token
            included.
        pixel_values: (N, D) patches of all prompts' images; None without images.
        image_grid_thw: (I, 3) int64; None without images.
    """

    input_ids_PL: Tensor
    position_ids: Tensor
    may_attend_P1LL: Tensor
    labels_PL: Tensor
    response_index_BC: Tensor
    is_response_BC: Tensor
    pixel_values: Tensor | None
    image_grid_thw: Tensor | None

    @property
    def group_size(self) -> int:
        """G."""
        return self.response_index_BC.shape[0] // self.input_ids_PL.shape[0]

    def to(self, device: torch.device | str) -> "PackedGroups":
        """Return the same groups with every tensor on a device."""
        moved: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            tensor = getattr(self, name)
            moved[name] = None if tensor is None else tensor.to(device)
        return replace(self, **moved)


def pack_groups(
    model: Any,
    prompts: Sequence[EncodedPrompt],
    responses_PG: Sequence[Sequence[Sequence[int]]],
    *,
    pad_token_id: int,
) -> PackedGroups:
    """Pack groups for `packed_log_probs`.

    Args:
        model: The vision-language model, unwrapped; only its configuration and position rule are
            used.
        prompts: P prompts.
        responses_PG: For each prompt its G responses as token ids, each with at least one token.
        pad_token_id: Fills the rows; never scored.

    Returns:
        The packed groups, on the CPU.

    Raises:
        DataError: a prompt's image tokens do not match its images (the message names the study).
        TrainingError: groups differ in size, or a response is empty.
    """
    sizes = {len(group) for group in responses_PG}
    if len(sizes) != 1 or len(responses_PG) != len(prompts):
        raise TrainingError(f"every prompt needs a group of the same size; got sizes {sizes}")
    if any(not response for group in responses_PG for response in group):
        raise TrainingError("a response has no token; it needs at least its end-of-sequence token")
    merge_size = int(model.config.vision_config.spatial_merge_size)
    rows = []
    for prompt, group in zip(prompts, responses_PG, strict=True):
        check_image_tokens(prompt, merge_size)
        rows.append(_pack_row(prompt, group, prompt_positions(model, prompt)))
    length = max(row.input_ids_L.shape[0] for row in rows)
    segment_PL = _stack([row.segment_L for row in rows], length, fill=_PADDING)
    index_BC, is_response_BC = _response_index(responses_PG, prompts)
    images = join_images(prompts)
    return PackedGroups(
        input_ids_PL=_stack([row.input_ids_L for row in rows], length, fill=pad_token_id),
        position_ids=torch.stack(
            [_stack([row.position_ids[axis] for row in rows], length, fill=0) for axis in range(3)]
        ),
        may_attend_P1LL=_may_attend(segment_PL),
        labels_PL=_stack([row.labels_L for row in rows], length, fill=IGNORED_LABEL),
        response_index_BC=index_BC,
        is_response_BC=is_response_BC,
        pixel_values=images.get("pixel_values"),
        image_grid_thw=images.get("image_grid_thw"),
    )


def packed_log_probs(model: Any, packed: PackedGroups) -> tuple[Tensor, Tensor | None]:
    """Compute the log-probability of every response token in one pass.

    Args:
        model: The policy, wrapped or not, with TRL's fused head (`add_fused_lm_head`), which
            divides the logits by the sampling temperature and never builds a (tokens, vocabulary)
            tensor.
        packed: The groups, on the model's device.

    Returns:
        Log-probabilities (P*G, C) float32, 0 at padding; and entropies of the same shape, without
        gradient use, or None if the model's head was not asked for them.
    """
    images = {}
    if packed.pixel_values is not None:
        images = {"pixel_values": packed.pixel_values, "image_grid_thw": packed.image_grid_thw}
    outputs = model(
        input_ids=packed.input_ids_PL,
        position_ids=packed.position_ids,
        attention_mask={"full_attention": packed.may_attend_P1LL},
        shift_labels=packed.labels_PL,
        fused_lm_head=True,
        **images,
    )
    log_probs = _gather_responses(outputs.log_probs, packed)
    entropies = None
    if outputs.entropy is not None:
        entropies = _gather_responses(outputs.entropy, packed)
    return log_probs, entropies


@dataclass(frozen=True, slots=True)
class _Row:
    input_ids_L: Tensor
    position_ids: Tensor
    labels_L: Tensor
    segment_L: Tensor


def _pack_row(prompt: EncodedPrompt, group: Sequence[Sequence[int]], positions: Tensor) -> _Row:
    prefix = prompt.input_ids_T.shape[0] - 1
    last_token = int(prompt.input_ids_T[-1])
    ids, labels, segments = [prompt.input_ids_T[:-1]], [torch.full((prefix,), IGNORED_LABEL)], []
    segments.append(torch.full((prefix,), _PROMPT))
    position_parts = [positions[:, :-1]]
    # After the last prompt token all three axes count on from the largest position so far, as in
    # text.
    start = int(positions[:, -1].max())
    for number, response in enumerate(group, start=_PROMPT + 1):
        length = len(response)
        ids.append(torch.tensor([last_token, *response[:-1]], dtype=torch.long))
        labels.append(torch.tensor(response, dtype=torch.long))
        segments.append(torch.full((length,), number))
        position_parts.append(torch.arange(start, start + length).expand(3, length))
    return _Row(
        input_ids_L=torch.cat(ids),
        position_ids=torch.cat(position_parts, dim=1),
        labels_L=torch.cat(labels),
        segment_L=torch.cat(segments),
    )


def _may_attend(segment_PL: Tensor) -> Tensor:
    length = segment_PL.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    same = segment_PL[:, :, None] == segment_PL[:, None, :]
    key_in_prompt = (segment_PL == _PROMPT)[:, None, :]
    # Padding sees itself only: a query without any key would give NaN in some attention kernels.
    query_is_padding = (segment_PL == _PADDING)[:, :, None]
    allowed = causal & (same | (key_in_prompt & ~query_is_padding))
    return allowed[:, None]


def _response_index(
    responses_PG: Sequence[Sequence[Sequence[int]]], prompts: Sequence[EncodedPrompt]
) -> tuple[Tensor, Tensor]:
    longest = max(len(response) for group in responses_PG for response in group)
    columns = torch.arange(longest)
    index_rows, mask_rows = [], []
    for prompt, group in zip(prompts, responses_PG, strict=True):
        start = prompt.input_ids_T.shape[0] - 1
        for response in group:
            is_response = columns < len(response)
            index_rows.append(torch.where(is_response, start + columns, 0))
            mask_rows.append(is_response)
            start += len(response)
    return torch.stack(index_rows), torch.stack(mask_rows)


def _gather_responses(values_PL: Tensor, packed: PackedGroups) -> Tensor:
    values_BL = values_PL.repeat_interleave(packed.group_size, dim=0)
    values_BC = values_BL.gather(1, packed.response_index_BC)
    return values_BC.masked_fill(~packed.is_response_BC, 0.0)


def _stack(rows: Sequence[Tensor], length: int, *, fill: int) -> Tensor:
    stacked = torch.full((len(rows), length), fill, dtype=torch.long)
    for index, row in enumerate(rows):
        stacked[index, : row.shape[0]] = row
    return stacked
