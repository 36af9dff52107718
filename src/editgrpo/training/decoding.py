"""Decoding K rows behind each of P prompts with the prompt's keys and values held once.

`Prefill` computes prompts one after another in one row and keeps their keys and values;
`Decode` computes the next token of every row of the grid. Both read and write `SharedKeyValues`
through an `AttentionPlan`, so transformers' own cache, which would hold each prompt K times and
copy it at every step, is not used.

Left out on purpose: drawing tokens, and which rows go on (rollouts.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.nn.functional import scaled_dot_product_attention

from editgrpo.config import AttentionKernel
from editgrpo.errors import DataError
from editgrpo.training.attention import (
    AttentionPlan,
    GroupPlan,
    GroupSpan,
    plan_masks,
    use_group_attention,
)
from editgrpo.training.features import encode_images
from editgrpo.training.language import (
    has_image_positions,
    language_model,
    prompt_positions,
    shaped_positions,
)
from editgrpo.training.processor import EncodedPrompt

# Kernels that take a bias want rows of a multiple of 8 elements, and would copy it otherwise.
_ALIGNMENT = 8


class SharedKeyValues:
    """Keys and values of P prompts and, behind them, of the K rows that continue each.

    One tensor a layer, (P, H', T + K*C, D): the prompts padded to T columns, then C columns for
    each row. All rows of a prompt are queries of one product with all of its columns; a row's own
    columns are hidden from the other rows.

    Args:
        lengths: Tokens of each prompt.
        rows: K.
        device: Where keys and values are.
    """

    def __init__(self, lengths: Sequence[int], rows: int, device: torch.device) -> None:
        self._prompt_columns = -(-max(lengths) // _ALIGNMENT) * _ALIGNMENT
        self._lengths_P = torch.tensor(lengths, device=device)
        self._row_columns = 0
        self._rows = rows
        # A tensor, so that a recorded step can be run again at the next column.
        self._next_column = torch.zeros((), dtype=torch.long, device=device)
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """P and K."""
        return self._lengths_P.shape[0], self._rows

    @property
    def device(self) -> torch.device:
        """Where keys and values are."""
        return self._lengths_P.device

    @property
    def row_columns(self) -> int:
        """C, tokens that there is room for behind each prompt."""
        return self._row_columns

    def write_prompt(self, layer: int, number: int, key: Tensor, value: Tensor) -> None:
        """Keep one layer's keys and values of one prompt.

        Args:
            layer: The layer.
            number: Of the prompt.
            key: (H', T, D), rotary positions applied.
            value: (H', T, D).
        """
        if layer not in self._layers:
            heads, _, width = value.shape
            shape = (self.shape[0], heads, self._prompt_columns, width)
            # Zeros: padding is multiplied by a weight of zero, which NaN would survive. Under
            # autocast keys come wider than values.
            self._layers[layer] = value.new_zeros(shape), value.new_zeros(shape)
        for kept, new in zip(self._layers[layer], (key, value), strict=True):
            kept[number, :, : new.shape[1]] = new

    def write_rows(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put one token of every row into the next column of its own.

        Args:
            layer: The layer.
            key: (P, H', K, D), rotary positions applied.
            value: (P, H', K, D).

        Returns:
            All keys and all values, (P, H', T + K*C, D) each.
        """
        first_K = torch.arange(self._rows, device=key.device) * self._row_columns
        columns_K = self._prompt_columns + first_K + self._next_column
        keys, values = self._layers[layer]
        keys.index_copy_(2, columns_K, key.to(keys.dtype))
        values.index_copy_(2, columns_K, value)
        return keys, values

    def bias(self, like: Tensor) -> Tensor:
        """Return (P, K, T + K*C): 0 where a row sees a column, the next of its own included, and
        -inf where it does not, in the number format of a tensor."""
        prompts, rows = self.shape
        device = self.device
        sees_prompt = torch.arange(self._prompt_columns, device=device) < self._lengths_P[:, None]
        row, own = torch.arange(rows, device=device), torch.arange(self._row_columns, device=device)
        is_own = row[:, None, None] == row[None, :, None]
        sees_rows = (is_own & (own <= self._next_column)).flatten(1)
        sees = torch.cat(
            [
                sees_prompt[:, None].expand(-1, rows, -1),
                sees_rows[None].expand(prompts, -1, -1),
            ],
            dim=2,
        )
        return torch.zeros_like(sees, dtype=like.dtype).masked_fill_(~sees, float("-inf"))

    def advance(self) -> None:
        """Make the next column of every row the one after it."""
        self._next_column += 1

    def extend(self, columns: int) -> None:
        """Give every row room for more tokens.

        Args:
            columns: How many.
        """
        self._relay(lambda own: torch.nn.functional.pad(own, (0, 0, 0, columns)), slice(None))
        self._row_columns += columns

    def select(self, prompt_P: Tensor, row_PK: Tensor) -> None:
        """Keep some prompts and some rows of each.

        Args:
            prompt_P: (P',) int64, numbers of the prompts that stay.
            row_PK: (P', K') int64, for each of them the rows that stay.
        """
        prompts = torch.arange(prompt_P.shape[0], device=prompt_P.device)[:, None]
        self._relay(lambda own: own[prompts, :, row_PK].transpose(1, 2), prompt_P)
        self._lengths_P, self._rows = self._lengths_P[prompt_P], row_PK.shape[1]

    def _relay(self, change: Callable[[Tensor], Tensor], prompts: slice | Tensor) -> None:
        """Lay every layer out anew, one at a time: a prompt's columns as they are, the rows' own,
        (P, H', K, C, D), as `change` returns them."""
        first = self._prompt_columns
        for layer, (keys, values) in self._layers.items():
            changed = []
            for kept in (keys[prompts], values[prompts]):
                count, heads, _, width = kept.shape
                own = kept[:, :, first:]
                own = own.reshape(count, heads, self._rows, self._row_columns, width)
                changed.append(torch.cat([kept[:, :, :first], change(own).flatten(2, 3)], dim=2))
            self._layers[layer] = changed[0], changed[1]


class _PrefillPlan(GroupPlan):
    """Bare prompts in one row, whose keys and values are kept."""

    def __init__(self, kept: SharedKeyValues, numbers: Sequence[int], lengths: Sequence[int]):
        spans, start = [], 0
        for length in lengths:
            spans.append(GroupSpan(start, length, ()))
            start += length
        super().__init__(spans, AttentionKernel.SPLIT)
        self._kept, self._prompt_numbers = kept, numbers

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, *, scaling: float
    ) -> Tensor:
        """Keep one layer's keys and values, and compute its attention."""
        for number, span in zip(self._prompt_numbers, self.groups, strict=True):
            columns = slice(span.start, span.end)
            self._kept.write_prompt(
                module.layer_idx, number, key[0, :, columns], value[0, :, columns]
            )
        return super().attend(module, query, key, value, scaling=scaling)


class _DecodePlan(AttentionPlan):
    """One new token of every row, P*K columns, against what the row saw before and itself."""

    def __init__(self, kept: SharedKeyValues) -> None:
        self._kept = kept
        self._bias: Tensor | None = None  # the same in every layer

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, *, scaling: float
    ) -> Tensor:
        """Compute one layer's attention; see `AttentionPlan`."""
        prompts, rows = self._kept.shape
        key_heads, shared = key.shape[1], query.shape[1] // key.shape[1]
        key, value = (
            x[0].reshape(key_heads, prompts, rows, -1).transpose(0, 1) for x in (key, value)
        )
        keys, values = self._kept.write_rows(module.layer_idx, key, value)
        if self._bias is None:
            self._bias = self._kept.bias(values).repeat(1, shared, 1)[:, None]
        # All queries of a prompt that share a key head become rows of one product, which reads the
        # prompt's keys once: (H, P*K, D) to (P, H', S*K, D).
        split = query[0].reshape(key_heads, shared, prompts, rows, -1)
        queries = split.permute(2, 0, 1, 3, 4).flatten(2, 3).to(values.dtype)
        attended = scaled_dot_product_attention(
            queries, keys, values, attn_mask=self._bias, scale=scaling
        )
        split = attended.reshape(prompts, key_heads, shared, rows, -1).permute(0, 3, 1, 2, 4)
        return split.reshape(1, prompts * rows, key_heads * shared, -1)


class Pass(ABC):
    """A forward pass of sampling, run by `passes_through`.

    No dataclass: FSDP would rebuild it, and cast what it holds, on the way into `forward`.
    """

    @abstractmethod
    def logits(self, model: Any) -> Tensor:
        """Compute logits of next tokens, one row for each token wanted, inside a model's forward.

        Args:
            model: The model, unwrapped.

        Returns:
            (B, V).
        """


class Prefill(Pass):
    """Computes some prompts, one after another in one row.

    Args:
        kept: Where their keys and values go.
        prompts: The prompts, by their numbers there.
        features: For the same numbers the (N, D) features of the prompt's images; those of a prompt
            with images that is missing are computed.
    """

    def __init__(
        self,
        kept: SharedKeyValues,
        prompts: dict[int, EncodedPrompt],
        features: dict[int, Tensor],
    ) -> None:
        self._prompts, self._features = prompts, features
        lengths = [prompt.input_ids_T.shape[0] for prompt in prompts.values()]
        self._plan = _PrefillPlan(kept, list(prompts), lengths)

    def logits(self, model: Any) -> Tensor:
        """Compute logits of the first tokens, one row a prompt.

        Args:
            model: The model, unwrapped.

        Returns:
            (P, V).

        Raises:
            DataError: features do not match a prompt's image tokens (the message names the study).
        """
        prompts = self._prompts.values()
        ids_L = torch.cat([prompt.input_ids_T for prompt in prompts])
        embeddings = model.get_input_embeddings()(ids_L[None].to(model.device))
        for (number, prompt), span in zip(self._prompts.items(), self._plan.groups, strict=True):
            features = self._features.get(number)
            if features is None:
                features = encode_images(model, prompt)
            if features is not None:
                _put_images(embeddings[0, span.start : span.end], prompt, features)
        positions_AL = torch.cat([prompt_positions(model, prompt) for prompt in prompts], dim=1)
        hidden_LD = _hidden_states(model, embeddings, positions_AL, self._plan)
        last_P = torch.tensor([span.end - 1 for span in self._plan.groups], device=model.device)
        logits: Tensor = model.get_output_embeddings()(hidden_LD[last_P])
        return logits


class Decode(Pass):
    """Computes the next token of every row.

    Args:
        kept: Keys and values of prompts and rows.
        tokens_PK: (P, K) int64, the last token of every row.
        positions_PK: (P, K) int64, its position.
        compiled: Whether `torch.compile` makes kernels of it, at the first call of a process and
            once more where a grid has one prompt or one row a prompt: the code takes any other
            sizes. Not for models sharded by FSDP, whose hooks break the graph at every layer.
    """

    def __init__(
        self,
        kept: SharedKeyValues,
        tokens_PK: Tensor,
        positions_PK: Tensor,
        *,
        compiled: bool = False,
    ) -> None:
        self._kept = kept
        self._tokens_PK, self._positions_PK = tokens_PK, positions_PK
        self._compute = _compiled_next_logits() if compiled else _next_logits

    def logits(self, model: Any) -> Tensor:
        """Compute logits of the next token of every row.

        Args:
            model: The model, unwrapped.

        Returns:
            (P*K, V), the rows of a prompt one after another.
        """
        return self._compute(model, self._kept, self._tokens_PK, self._positions_PK)


def _next_logits(
    model: Any, kept: SharedKeyValues, tokens_PK: Tensor, positions_PK: Tensor
) -> Tensor:
    embeddings = model.get_input_embeddings()(tokens_PK.reshape(1, -1))
    # Behind a prompt all axes of a position are the same, as in text.
    axes = 3 if has_image_positions(model) else 1
    positions_AL = positions_PK.reshape(1, -1).expand(axes, -1)
    hidden_LD = _hidden_states(model, embeddings, positions_AL, _DecodePlan(kept))
    logits: Tensor = model.get_output_embeddings()(hidden_LD)
    return logits


@cache
def _compiled_next_logits() -> Callable[[Any, SharedKeyValues, Tensor, Tensor], Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(_next_logits, dynamic=True)
    return compiled


@contextmanager
def passes_through(model: Any) -> Iterator[Callable[[Pass], Tensor]]:
    """Run passes inside a model's own `forward`, where the hooks of what wraps it are at work.

    Of a model sharded by FSDP2 every process holds all weights until the end: they are gathered
    once instead of for every token, and no process waits for another that has more tokens to draw.

    Args:
        model: The policy: a transformers model, alone, inside PEFT's wrapper, sharded by FSDP2, or
            both. Its text layers take an `AttentionPlan` from here on. A sharded one reshards after
            each forward afterwards, FSDP's default.

    Yields:
        Runs a pass and returns its logits.
    """
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    use_group_attention(base)
    replaced = base.__dict__.get("forward")

    def forward(*_: Any, decoding: Pass, **__: Any) -> Tensor:
        for shard in shards:
            shard.unshard()  # also those that this process does not run: all must take part
        return decoding.logits(base)

    base.forward = forward
    for shard in shards:
        shard.set_reshard_after_forward(False, recurse=False)
    try:
        yield lambda one: model(decoding=one)
    finally:
        del base.forward
        if replaced is not None:
            base.forward = replaced
        for shard in shards:
            shard.set_reshard_after_forward(True, recurse=False)
            shard.reshard()


def _hidden_states(
    model: Any, embeddings: Tensor, positions_AL: Tensor, plan: AttentionPlan
) -> Tensor:
    outputs = language_model(model)(
        inputs_embeds=embeddings,
        position_ids=shaped_positions(model, positions_AL.to(embeddings.device)),
        attention_mask=plan_masks(model, plan),
        use_cache=False,
    )
    hidden: Tensor = outputs.last_hidden_state[0]
    return hidden


def _put_images(embeddings_TD: Tensor, prompt: EncodedPrompt, features_ND: Tensor) -> None:
    columns_N = prompt.is_image_token_T.nonzero()[:, 0]
    if features_ND.shape[0] != columns_N.shape[0]:
        raise DataError(
            f"study {prompt.study_id}: {features_ND.shape[0]} image features for "
            f"{columns_N.shape[0]} image tokens; were they computed from other images?"
        )
    embeddings_TD[columns_N.to(embeddings_TD.device)] = features_ND.to(embeddings_TD)
