"""The language model inside a vision-language model: where it is, and how its tokens are placed."""

from collections.abc import Callable
from typing import cast

from torch import Tensor

from editgrpo.training.policy.families import family_of
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
    return model.get_decoder()


def language_model_name(model: Policy) -> str:
    """Tell under which name a model holds its text layers.

    Args:
        model: As for `language_model`.

    Returns:
        The attribute: `language_model` for most families, `text_model` for some.
    """
    layers: object = language_model(model)
    return next(
        name.rpartition(".")[2] for name, module in model.named_modules() if module is layers
    )


def prompt_positions(model: Policy, prompt: EncodedPrompt) -> Tensor:
    """Place the tokens of a prompt by the model's own rule.

    Args:
        model: The model, unwrapped.
        prompt: The prompt.

    Returns:
        (A, T) int64: time, height and width position of every prompt token, or their numbers alone.
    """
    return family_of(model).positions(model.model, prompt)


def shaped_positions(positions_AL: Tensor) -> Tensor:
    """Shape positions of one row for the language model.

    Args:
        positions_AL: (A, L), as `prompt_positions` counts them.

    Returns:
        (A, 1, L) for positions of several axes, (1, L) else.
    """
    return positions_AL[:, None] if positions_AL.shape[0] > 1 else positions_AL
