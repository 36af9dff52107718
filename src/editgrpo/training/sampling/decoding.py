"""Decoding K rows after each of P prompts with the prompt's keys and values held once.

`Prefill` computes prompts one after another in one row and keeps their keys and values;
`Decode` computes the next token of every row of the grid. Both read and write `SharedKeyValues`
(key_values.py) through an `AttentionPlan`, so transformers' own cache, which would hold each prompt
K times and copy it at every step, is not used.

Left out on purpose: drawing tokens, and which rows go on (rollouts.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.nn.functional import scaled_dot_product_attention

from editgrpo.config import AttentionKernel
from editgrpo.errors import DataError, TrainingError
from editgrpo.training.packed.attention import (
    AttentionPlan,
    GroupPlan,
    planned,
    use_group_attention,
)
from editgrpo.training.packed.visibility import GroupSpan
from editgrpo.training.policy.families import family_of
from editgrpo.training.policy.features import encode_images
from editgrpo.training.policy.model import Policy, WrappedPolicy
from editgrpo.training.policy.positions import (
    language_model,
    prompt_positions,
    shaped_positions,
    without_adapter_wrapper,
)
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.sampling.key_values import SharedKeyValues


class _PrefillPlan(GroupPlan):
    """Bare prompts in one row, whose keys and values are kept."""

    def __init__(self, kept: SharedKeyValues, numbers: Sequence[int], spans: Sequence[GroupSpan]):
        super().__init__(spans, AttentionKernel.SPLIT)
        self._kept, self._prompt_numbers = kept, numbers

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
        """Keep one layer's keys and values, and compute its attention."""
        for number, span in zip(self._prompt_numbers, self.groups, strict=True):
            columns = slice(span.start, span.end)
            self._kept.write_prompt(
                module.layer_idx, number, key[0, :, columns], value[0, :, columns]
            )
        return super().attend(module, query, key, value, scaling=scaling, window=window)


class _DecodePlan(AttentionPlan):
    """One new token of every row, P*K columns, against what the row saw before and itself."""

    def __init__(self, kept: SharedKeyValues) -> None:
        self._kept = kept
        self._columns_K = kept.next_columns()
        self._bias: dict[int | None, Tensor] = {}  # the same in every layer of a window

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
        prompts, rows = self._kept.shape
        key_heads, shared = key.shape[1], query.shape[1] // key.shape[1]
        key, value = (
            x[0].reshape(key_heads, prompts, rows, -1).transpose(0, 1) for x in (key, value)
        )
        keys, values = self._kept.write_rows(module.layer_idx, self._columns_K, key, value)
        if window not in self._bias:
            bias = self._kept.bias(values, window)
            self._bias[window] = bias.repeat(1, shared, 1)[:, None]
        # All queries of a prompt that share a key head become rows of one product, which reads the
        # prompt's keys once: (H, P*K, D) to (P, H', S*K, D).
        split = query[0].reshape(key_heads, shared, prompts, rows, -1)
        queries = split.permute(2, 0, 1, 3, 4).flatten(2, 3).to(values.dtype)
        attended = scaled_dot_product_attention(
            queries, keys, values, attn_mask=self._bias[window], scale=scaling
        )
        split = attended.reshape(prompts, key_heads, shared, rows, -1).permute(0, 3, 1, 2, 4)
        return split.reshape(1, prompts * rows, key_heads * shared, -1)


class Pass(ABC):
    """A forward pass of sampling, run by `passes_through`.

    No dataclass: FSDP would rebuild it, and cast what it holds, on the way into `forward`.
    """

    @abstractmethod
    def logits(self, model: Policy) -> Tensor:
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
        self._kept = kept

    def logits(self, model: Policy) -> Tensor:
        """Compute logits of the first tokens, one row a prompt.

        Args:
            model: The model, unwrapped.

        Returns:
            (P, V).

        Raises:
            DataError: features do not match a prompt's image tokens (the message names the study).
        """
        prompts, family = self._prompts.values(), family_of(model)
        spans, start = [], 0
        for prompt in prompts:
            length = prompt.input_ids_T.shape[0]
            spans.append(GroupSpan(start, length, (), blocks=family.blocks(prompt)))
            start += length
        plan = _PrefillPlan(self._kept, list(self._prompts), spans)
        ids_L = torch.cat([prompt.input_ids_T for prompt in prompts])
        embeddings = model.get_input_embeddings()(ids_L[None].to(model.device))
        more: dict[str, Any] = {}
        found = [self._features_of(number, model) for number in self._prompts]
        features = [one for one in found if one is not None]
        if features:
            is_image_L = torch.cat([prompt.is_image_token_T for prompt in prompts])
            columns_N = is_image_L.nonzero()[:, 0]
            embeddings, more = family.put_images(embeddings, columns_N, torch.cat(features))
        positions_AL = torch.cat([prompt_positions(model, prompt) for prompt in prompts], dim=1)
        hidden_LD = _hidden_states(model, embeddings, positions_AL, plan, more)
        last_P = torch.tensor([span.end - 1 for span in spans], device=model.device)
        logits: Tensor = model.get_output_embeddings()(hidden_LD[last_P])
        return logits

    def _features_of(self, number: int, model: Policy) -> Tensor | None:
        prompt, features_NF = self._prompts[number], self._features.get(number)
        if features_NF is None:
            features_NF = encode_images(model, prompt)
        image_tokens = int(prompt.is_image_token_T.sum())
        if features_NF is not None and features_NF.shape[0] != image_tokens:
            raise DataError(
                f"study {prompt.study_id}: {features_NF.shape[0]} image features for "
                f"{image_tokens} image tokens; were they computed from other images?"
            )
        return features_NF


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

    def logits(self, model: Policy) -> Tensor:
        """Compute logits of the next token of every row.

        Args:
            model: The model, unwrapped.

        Returns:
            (P*K, V), the rows of a prompt one after another.

        Raises:
            TrainingError: they cannot be compiled here.
        """
        # After a prompt all axes of a position are the same, as in text.
        positions_AL = self._positions_PK.reshape(1, -1).expand(family_of(model).axes, -1)
        return self._compute(model, self._kept, self._tokens_PK, positions_AL)


def _next_logits(
    model: Policy, kept: SharedKeyValues, tokens_PK: Tensor, positions_AL: Tensor
) -> Tensor:
    embeddings = model.get_input_embeddings()(tokens_PK.reshape(1, -1))
    hidden_LD = _hidden_states(model, embeddings, positions_AL, _DecodePlan(kept), {})
    logits: Tensor = model.get_output_embeddings()(hidden_LD)
    return logits


@cache
def _compiled_next_logits() -> Callable[[Policy, SharedKeyValues, Tensor, Tensor], Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(_next_logits, dynamic=True)

    def next_logits(*arguments: Any) -> Tensor:
        try:
            return compiled(*arguments)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason = str(error).partition("\n")[0]
            raise TrainingError(
                f"decoding steps cannot be compiled ({reason}); install a C++ compiler, or Triton "
                "for a GPU, or set rollout.compile=false"
            ) from error

    return next_logits


@contextmanager
def passes_through(model: WrappedPolicy) -> Iterator[Callable[[Pass], Tensor]]:
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
    base = without_adapter_wrapper(model)
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    use_group_attention(base)
    replaced = base.__dict__.get("forward")

    def forward(*_: Any, decoding: Pass, **__: Any) -> Tensor:
        for shard in shards:
            shard.unshard()  # also those that this process does not run: all must take part
        return decoding.logits(base)

    base.forward = forward
    try:
        with _kept_whole(shards):
            yield lambda one: model(decoding=one)
    finally:
        del base.forward
        if replaced is not None:
            base.forward = replaced


@contextmanager
def whole_weights(model: WrappedPolicy) -> Iterator[None]:
    """Let every process hold all weights of a model that FSDP2 shards, so that none waits for
    another within the context.

    Args:
        model: A model that has run forward before, as `passes_through` takes it.

    Yields:
        Nothing.
    """
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    with _kept_whole(shards):
        for shard in shards:
            shard.unshard()
        yield


@contextmanager
def _kept_whole(shards: Sequence[FSDPModule]) -> Iterator[None]:
    """Keep what is gathered within the context; afterwards forward passes reshard again."""
    for shard in shards:
        shard.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for shard in shards:
            shard.set_reshard_after_forward(True, recurse=False)
            shard.reshard()


def _hidden_states(
    model: Policy,
    embeddings: Tensor,
    positions_AL: Tensor,
    plan: AttentionPlan,
    more: Mapping[str, Any],
) -> Tensor:
    outputs = language_model(model)(
        inputs_embeds=embeddings,
        position_ids=shaped_positions(positions_AL.to(embeddings.device)),
        use_cache=False,
        **planned(plan, embeddings.device),
        **more,
    )
    hidden: Tensor = outputs.last_hidden_state[0]
    return hidden
