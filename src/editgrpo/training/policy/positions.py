"""The language model inside a vision-language model: where it is, and how its tokens are placed.

Works for Qwen2-VL, Qwen2.5-VL, Qwen3-VL and for models of text alone.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from editgrpo.training.policy.model import Policy, TextLayers, WrappedPolicy
from editgrpo.training.policy.processor import EncodedPrompt


def without_adapter_wrapper(model: WrappedPolicy) -> Policy:
    """Return the transformers model inside PEFT's wrapper, its adapters still at work; any other
    model itself."""
    # Not `peft_config`: the model inside the wrapper has that, too.
    unwrap: Callable[[], Policy] | None = getattr(model, "get_base_model", None)
    return cast(Policy, model) if unwrap is None else unwrap()


def language_model(model: Policy) -> TextLayers:
    """Find the stack of text layers of a model.

    Args:
        model: A vision-language or causal language model of transformers, unwrapped.

    Returns:
        The layers with embedding and last norm, without the head.
    """
    return cast(TextLayers, getattr(model.model, "language_model", model.model))


def has_image_positions(model: Policy) -> bool:
    """Return whether positions have three axes (M-RoPE) rather than one."""
    return hasattr(model.model, "get_rope_index")


def patches_across(model: Policy) -> int:
    """Return how many patches along one side an image token covers; 1 for a model of text alone."""
    vision = getattr(model.config, "vision_config", None)
    return 1 if vision is None else int(vision.spatial_merge_size)


def prompt_positions(model: Policy, prompt: EncodedPrompt) -> Tensor:
    """Place the tokens of a prompt by the model's own rule.

    Args:
        model: The model, unwrapped.
        prompt: The prompt; without images its positions count from 0.

    Returns:
        (3, T) int64, time, height and width position of every prompt token; for a model of text
        alone (1, T).
    """
    tokens = prompt.input_ids_T.shape[0]
    axes = 3 if has_image_positions(model) else 1
    if prompt.image_grid_thw is None:
        return torch.arange(tokens).expand(axes, tokens)
    positions: Tensor
    positions, _ = model.model.get_rope_index(
        prompt.input_ids_T[None],
        mm_token_type_ids=prompt.is_image_token_T[None].int(),
        image_grid_thw=prompt.image_grid_thw,
    )
    return positions[:, 0]


def shaped_positions(model: Policy, positions_AL: Tensor) -> Tensor:
    """Shape positions of one row for the language model.

    Args:
        model: The model, unwrapped.
        positions_AL: (3, L) or (1, L), as `prompt_positions` counts them.

    Returns:
        (3, 1, L) for positions of three axes, (1, L) else.
    """
    return positions_AL[:, None] if has_image_positions(model) else positions_AL
