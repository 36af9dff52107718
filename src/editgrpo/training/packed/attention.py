"""Attention inside packed rows: who sees whom, and the kernels that compute it.

transformers hands every text layer an attention mask and asks a registered function for the
result. `use_group_attention` registers ours, which does what SDPA does for any mask, and lets an
`AttentionPlan` compute the result where one travels with the call (`planned`). A plan knows the
structure of the row, so that nothing has to be masked out that need not be computed at all.

Left out on purpose: what stands in a row (packing.py) and the key/value store of sampling
(decoding.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from editgrpo.config import AttentionKernel
from editgrpo.training.packed.visibility import (
    Columns,
    GroupSpan,
    ResponseColumns,
    prompt_mask,
    response_columns,
)
from editgrpo.training.policy.model import Policy
from editgrpo.training.policy.positions import language_model

_NAME = "editgrpo"


class AttentionPlan(ABC):
    """Computes attention for a row of known structure; goes with a call in place of a mask."""

    @abstractmethod
    def attend(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scaling: float,
        window: int | None,
    ) -> Tensor:
        """Compute one layer's attention.

        Args:
            module: The attention layer; `module.layer_idx` is its number.
            query: (B, H, L, D), rotary positions applied.
            key: (B, H', L, D), rotary positions applied; H' divides H.
            value: (B, H', L, D).
            scaling: The products of queries and keys are multiplied by it.
            window: How many tokens a token of this layer sees, itself included; None for all.

        Returns:
            (B, L, H, D).
        """


def use_group_attention(model: Policy) -> None:
    """Let the text layers of a model take an `AttentionPlan` as well as a mask, see `planned`.

    Args:
        model: A transformers model, unwrapped. Its vision tower keeps its attention; its text
            layers compute SDPA where there is no plan.
    """
    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    language_model(model).set_attn_implementation(_NAME)


def planned(plan: AttentionPlan, device: torch.device) -> dict[str, Any]:
    """Return what to pass to the text layers so that a plan computes their attention.

    Args:
        plan: The plan.
        device: Of the embeddings.

    Returns:
        Keywords: the plan, which transformers hands on to the attention of every layer, and a mask
        of four dimensions, which it takes for finished and hands on instead of building one.
    """
    return {
        "attention_plan": plan,
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
    }


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    *,
    attention_plan: AttentionPlan | None = None,
    **keywords: Any,
) -> tuple[Tensor, None]:
    if attention_plan is None:
        computed: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **keywords
        )
        return computed
    scaling = keywords.get("scaling")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    window = keywords.get("sliding_window")
    attended = attention_plan.attend(module, query, key, value, scaling=scaling, window=window)
    return attended, None


class GroupPlan(AttentionPlan):
    """Groups one after another in one row: a prompt token sees its prompt up to itself, and the
    whole of the block that it is in; a response token its prompt and its own response up to itself.
    In a layer with a window both see the last tokens of that alone.

    Both kernels give the same numbers (tests/training/packed/test_attention.py):

    - SPLIT computes prompts causally and all responses of a group against their prompt and
      themselves, without anything that is masked out but the padding of short responses;
    - DENSE builds the whole mask, and computes and throws away what it forbids.

    Args:
        groups: The groups, in the order of their columns, without gaps.
        kernel: Which of them.
    """

    def __init__(self, groups: Sequence[GroupSpan], kernel: AttentionKernel) -> None:
        self.groups = tuple(groups)
        self._kernel = kernel
        # Masks and indices, the same in every layer of a window.
        self._prepared: dict[tuple[torch.device, int | None], Any] = {}

    def attend(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scaling: float,
        window: int | None,
    ) -> Tensor:
        """Compute one layer's attention; see `AttentionPlan`."""
        place = (query.device, window)
        if place not in self._prepared:
            self._prepared[place] = self._prepare(*place)
        prepared = self._prepared[place]
        if self._kernel is AttentionKernel.DENSE:
            key, value = _every_head(key, query), _every_head(value, query)
            attended = scaled_dot_product_attention(
                query, key, value, attn_mask=prepared, scale=scaling
            )
        else:
            attended = self._split(query, key, value, prepared, scaling)
        return attended.transpose(1, 2)

    def _prepare(self, device: torch.device, window: int | None) -> Any:
        if self._kernel is AttentionKernel.SPLIT:
            return [
                (prompt_mask(span, window, device), response_columns(span, window, device))
                for span in self.groups
            ]
        columns = Columns.of(self.groups, device)
        all_L = torch.arange(columns.group_L.shape[0], device=device)
        return columns.sees(all_L[:, None], all_L[None, :], window)[None, None]

    def _split(
        self, query: Tensor, key: Tensor, value: Tensor, prepared: list[Any], scaling: float
    ) -> Tensor:
        pieces = []
        for span, (mask, responses) in zip(self.groups, prepared, strict=True):
            prompt = slice(span.start, span.start + span.prefix)
            if span.prefix:
                pieces.append(
                    scaled_dot_product_attention(
                        query[:, :, prompt],
                        _every_head(key[:, :, prompt], query),
                        _every_head(value[:, :, prompt], query),
                        attn_mask=mask,
                        is_causal=mask is None,
                        scale=scaling,
                    )
                )
            if responses is not None:
                rows = _ResponseRows(query, key, value, prompt, responses)
                pieces.append(rows.attend(scaling))
        return torch.cat(pieces, dim=2)


class _ResponseRows:
    """The responses of one group, one row each, against their prompt and themselves."""

    def __init__(
        self, query: Tensor, key: Tensor, value: Tensor, prompt: slice, where: ResponseColumns
    ) -> None:
        self._where = where
        self._heads, self._key_heads = query.shape[1], key.shape[1]
        self._query = self._rows(query)
        size = where.columns_GR.shape[0]
        self._key, self._value = (
            torch.cat([x[:, :, prompt].expand(size, -1, -1, -1), self._rows(x)], dim=2)
            for x in (key, value)
        )

    def _rows(self, x: Tensor) -> Tensor:
        """Turn (1, H, L, D) into (G, H, R, D)."""
        return x[0][:, self._where.columns_GR].transpose(0, 1)

    def attend(self, scaling: float) -> Tensor:
        """Return (1, H, sum of lengths, D)."""
        size, longest = self._where.columns_GR.shape
        # The query heads that share a key head become more rows of queries: keys and values are
        # not repeated for them.
        shared = self._heads // self._key_heads
        query = self._query.reshape(size, self._key_heads, shared * longest, -1)
        attended = scaled_dot_product_attention(
            query,
            self._key,
            self._value,
            attn_mask=self._where.may_attend.repeat(shared, 1),
            scale=scaling,
        )
        rows = attended.reshape(size, self._heads, longest, -1).transpose(0, 1)
        return rows.flatten(1, 2)[None, :, self._where.kept]


def _every_head(x: Tensor, query: Tensor) -> Tensor:
    """Repeat keys or values (B, H', L, D) for each of the query's H heads."""
    return x.repeat_interleave(query.shape[1] // x.shape[1], dim=1)
