"""Groups packed into one row: each prompt once, its responses after it, no padding.

A row is `[group | group | ...]`, a group `[prompt without its last token | r_1 | ... | r_G]`. Each
response segment starts with a copy of the prompt's last token, which predicts the response's first
token, and ends with the response's last but one token, which predicts its last. A segment sees its
prompt and itself, never another segment, and its positions start again where the prompt's end, so
every log-probability equals that of the response alone behind its prompt: the same numbers as
separate rows, with each prompt token and each image computed once
(tests/parity/test_group_pass.py).

Left out on purpose: the forward pass (group_pass.py) and attention (attention.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from editgrpo.config import AttentionKernel
from editgrpo.errors import TrainingError
from editgrpo.training.packed.attention import GroupPlan
from editgrpo.training.packed.visibility import GroupSpan
from editgrpo.training.policy.families import family_of
from editgrpo.training.policy.model import Policy
from editgrpo.training.policy.positions import prompt_positions, shaped_positions
from editgrpo.training.policy.processor import EncodedPrompt, check_image_tokens, join_images


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedGroups:
    """Groups in one row of L columns, with R response tokens and N image tokens.

    Attributes:
        input_ids_1L: (1, L) int64.
        position_ids: (3, 1, L) int64, time, height and width positions of M-RoPE; (1, L) for a
            model of text alone.
        plan: Who sees whom.
        response_column_R: (R,) int64, the column that predicts each response token; responses one
            after another, groups in order.
        target_R: (R,) int64, the response tokens.
        is_response_BC: (B, C) bool, one row a response, C the longest; True at its tokens, the
            end-of-sequence token included.
        image_column_N: (N,) int64, columns of image tokens.
        features_ND: (N, D) image features, N = 0 without images; None if the pass computes them
            from the patches.
        pixel_values: Patches of all prompts' images; None without images or with features.
        image_grid_thw: (I, 3) int64; None without images or with features.
    """

    input_ids_1L: Tensor
    position_ids: Tensor
    plan: GroupPlan
    response_column_R: Tensor
    target_R: Tensor
    is_response_BC: Tensor
    image_column_N: Tensor
    features_ND: Tensor | None
    pixel_values: Tensor | None
    image_grid_thw: Tensor | None

    def to(self, device: torch.device | str) -> "PackedGroups":
        """Return the same groups with every tensor on a device."""
        moved: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            moved[name] = value.to(device) if torch.is_tensor(value) else value
        return replace(self, **moved)

    def rows(self, values_R: Tensor) -> Tensor:
        """Lay values of response tokens out in rows.

        Args:
            values_R: (R,) of any number format.

        Returns:
            (B, C), 0 at padding.
        """
        zeros = values_R.new_zeros(self.is_response_BC.shape)
        return zeros.masked_scatter(self.is_response_BC, values_R)


def packed_length(prompt: EncodedPrompt, responses: Sequence[Sequence[int]]) -> int:
    """Return how many columns a group takes; on the plain path, how many tokens its rows have."""
    if prompt.is_plain:
        return len(responses) * prompt.input_ids_T.shape[0] + sum(map(len, responses))
    return prompt.input_ids_T.shape[0] - 1 + sum(map(len, responses))


def plan_passes(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Share groups out to forward passes so that none takes more than a budget of tokens.

    Longest first, each into the first pass that has room.

    Args:
        lengths: Columns that each group takes.
        budget: Most columns of a pass; a group that is longer has a pass of its own.

    Returns:
        Indices of the groups of each pass, ascending.
    """
    passes: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        room = (one for one in passes if sum(lengths[k] for k in one) + lengths[index] <= budget)
        chosen = next(room, None)
        if chosen is None:
            passes.append([index])
        else:
            chosen.append(index)
    return [sorted(one) for one in passes]


def pack_groups(
    model: Policy,
    prompts: Sequence[EncodedPrompt],
    responses_PG: Sequence[Sequence[Sequence[int]]],
    *,
    features: Sequence[Tensor | None] | None = None,
    kernel: AttentionKernel = AttentionKernel.SPLIT,
) -> PackedGroups:
    """Pack groups into one row.

    Args:
        model: The model, unwrapped; its configuration, position rule and width are used.
        prompts: P prompts.
        responses_PG: For each prompt its responses as token ids, each with at least one token.
        features: For each prompt the (N, D) features of its images, None for one without; None to
            compute them in the pass.
        kernel: How attention is computed.

    Returns:
        The packed groups; features stay where they are, the rest is on the CPU.

    Raises:
        DataError: a prompt's image tokens do not match its images (the message names the study).
        TrainingError: a prompt has no responses, or a response is empty.
    """
    if len(responses_PG) != len(prompts) or any(not group for group in responses_PG):
        raise TrainingError(f"{len(prompts)} prompts need a group of responses each")
    if any(not response for group in responses_PG for response in group):
        raise TrainingError("a response has no token; it needs at least its end-of-sequence token")
    family = family_of(model)
    rows, start = [], 0
    for prompt, group in zip(prompts, responses_PG, strict=True):
        check_image_tokens(prompt, expected_features(model, prompt))
        positions_AT, blocks = prompt_positions(model, prompt), family.blocks(prompt)
        rows.append(_pack_one(prompt, group, positions_AT, blocks, start))
        start = rows[-1].span.end
    lengths_B = torch.tensor([len(response) for group in responses_PG for response in group])
    images = join_images(prompts) if features is None else {}
    return PackedGroups(
        input_ids_1L=torch.cat([row.input_ids_L for row in rows])[None],
        position_ids=shaped_positions(torch.cat([r.positions_AL for r in rows], dim=1)),
        plan=GroupPlan([row.span for row in rows], kernel),
        response_column_R=torch.cat(
            [torch.arange(row.span.start + row.span.prefix, row.span.end) for row in rows]
        ),
        target_R=torch.tensor([t for group in responses_PG for r in group for t in r]),
        is_response_BC=torch.arange(int(lengths_B.max())) < lengths_B[:, None],
        image_column_N=torch.cat([row.image_columns for row in rows]),
        features_ND=None if features is None else _join_features(model, features),
        pixel_values=images.get("pixel_values"),
        image_grid_thw=images.get("image_grid_thw"),
    )


def expected_features(model: Policy, prompt: EncodedPrompt) -> int:
    """Return how many features the images of a prompt have."""
    grids = prompt.image_grid_thw
    return 0 if grids is None else family_of(model).image_tokens(model.config, grids)


def _join_features(model: Policy, features: Sequence[Tensor | None]) -> Tensor:
    known = [one for one in features if one is not None]
    return torch.cat(known) if known else torch.empty(0, model.get_input_embeddings().embedding_dim)


@dataclass(frozen=True, slots=True)
class _Row:
    input_ids_L: Tensor
    positions_AL: Tensor
    image_columns: Tensor
    span: GroupSpan


def _pack_one(
    prompt: EncodedPrompt,
    group: Sequence[Sequence[int]],
    positions_AT: Tensor,
    blocks: tuple[tuple[int, int], ...],
    start: int,
) -> _Row:
    last_token = int(prompt.input_ids_T[-1])
    ids, positions = [prompt.input_ids_T[:-1]], [positions_AT[:, :-1]]
    # After the last prompt token all axes count on from the largest position so far, as in text.
    first = int(positions_AT[:, -1].max())
    for response in group:
        ids.append(torch.tensor([last_token, *response[:-1]]))
        positions.append(
            torch.arange(first, first + len(response)).expand(positions_AT.shape[0], -1)
        )
    return _Row(
        input_ids_L=torch.cat(ids),
        positions_AL=torch.cat(positions, dim=1),
        image_columns=start + prompt.is_image_token_T.nonzero()[:, 0],
        span=GroupSpan(
            start, prompt.input_ids_T.shape[0] - 1, tuple(map(len, group)), blocks=blocks
        ),
    )
