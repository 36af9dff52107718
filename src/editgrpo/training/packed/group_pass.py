"""The forward pass of packed groups: log-probabilities of response tokens and nothing else.

`add_group_pass` gives a model's `forward` one more keyword, `packed`, so that the pass runs inside
it: the hooks of DDP, FSDP and DeepSpeed on the wrapped model are at work as in any other pass.
Logits exist for response tokens only, and for some of them at a time, since those of all tokens of
a step would take hundreds of gigabytes with a vocabulary of 151,936.
"""

import functools
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from editgrpo.training.packed.attention import planned, use_group_attention
from editgrpo.training.packed.packing import PackedGroups
from editgrpo.training.packed.plain import PlainGroups
from editgrpo.training.policy.blank_image import no_features, run_tower_always
from editgrpo.training.policy.families import family_of
from editgrpo.training.policy.features import encoded_images
from editgrpo.training.policy.model import Policy, WrappedPolicy
from editgrpo.training.policy.positions import language_model

# Logits that exist at a time: 2^25 float32 are 128 MiB, 220 tokens of Qwen2.5-VL's vocabulary.
_LOGITS = 2**25


def add_group_pass(model: Policy, *, temperature: float) -> None:
    """Let a model's forward take `packed=PackedGroups`; without it the results stay the same.

    Args:
        model: The model, not yet wrapped by PEFT, DDP, FSDP or DeepSpeed.
        temperature: Logits are divided by it, as when the responses were sampled.
    """
    use_group_attention(model)
    family_of(model).prepare(model)  # also in a reference that TRL has loaded
    run_tower_always(model)
    stock = model.forward

    # The signature stays: transformers checks arguments against it.
    @functools.wraps(type(model).forward)
    def forward(self: Any, *arguments: Any, packed: Any = None, **keywords: Any) -> Any:
        if packed is None:
            return stock(*arguments, **keywords)
        return _group_pass(self, packed, temperature)

    model.forward = MethodType(forward, model)


def packed_log_probs(
    model: WrappedPolicy, packed: PackedGroups | PlainGroups
) -> tuple[Tensor, Tensor]:
    """Compute the log-probability of every response token in one pass.

    Args:
        model: The policy or the reference, wrapped or not, after `add_group_pass` (or
            `add_plain_pass`).
        packed: The groups, on the model's device.

    Returns:
        Log-probabilities and entropies in nats, (B, C) float32 each, 0 at padding; entropies are
        without gradient.
    """
    log_probs_R, entropies_R = model(packed=packed)
    return packed.rows(log_probs_R), packed.rows(entropies_R)


def _group_pass(model: Policy, packed: PackedGroups, temperature: float) -> tuple[Tensor, Tensor]:
    embeddings = model.get_input_embeddings()(packed.input_ids_1L)
    features = _image_features(model, packed)
    more: dict[str, Any] = {}
    if features is not None:
        embeddings, more = family_of(model).put_images(embeddings, packed.image_column_N, features)
    hidden = language_model(model)(
        inputs_embeds=embeddings,
        position_ids=packed.position_ids,
        **planned(packed.plan, embeddings.device),
        use_cache=False,
        **more,
    ).last_hidden_state
    return response_log_probs(
        model.get_output_embeddings(),
        hidden[0, packed.response_column_R],
        packed.target_R,
        temperature=temperature,
    )


def _image_features(model: Policy, packed: PackedGroups) -> Tensor | None:
    family = family_of(model)
    tower = None if packed.features_ND is not None else family.tower(model.model)
    if tower is None:
        return packed.features_ND
    if packed.pixel_values is None or packed.image_grid_thw is None:
        return no_features(family, tower)
    return encoded_images(family, tower, packed.pixel_values, packed.image_grid_thw)


def response_log_probs(
    head: nn.Linear,
    hidden_RD: Tensor,
    target_R: Tensor,
    *,
    temperature: float,
    logits: int = _LOGITS,
) -> tuple[Tensor, Tensor]:
    """Score tokens, a chunk at a time; the backward pass computes each chunk's logits again.

    Args:
        head: The model's output layer.
        hidden_RD: (R, D) hidden states that predict the tokens.
        target_R: (R,) int64, the tokens.
        temperature: Logits are divided by it.
        logits: Most logits that exist at a time.

    Returns:
        Log-probabilities and entropies in nats, (R,) float32 each; entropies are without gradient.
    """
    rows = max(1, logits // head.out_features)  # a sharded weight does not tell the vocabulary
    chunks = list(zip(torch.split(hidden_RD, rows), torch.split(target_R, rows), strict=True))
    if len(chunks) == 1 or not torch.is_grad_enabled():
        scored = [_score(head, *chunk, temperature) for chunk in chunks]
    else:
        scored = [
            checkpoint(_score, head, *chunk, temperature, use_reentrant=False) for chunk in chunks
        ]
    log_probs, entropies = zip(*scored, strict=True)
    return torch.cat(log_probs), torch.cat(entropies)


def _score(
    head: nn.Linear, hidden_RD: Tensor, target_R: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    log_probs_RV = (head(hidden_RD).float() / temperature).log_softmax(dim=-1)
    with torch.no_grad():
        entropies_R = -(log_probs_RV.exp() * log_probs_RV).sum(dim=-1)
    return log_probs_RV.gather(1, target_R[:, None])[:, 0], entropies_R
