"""Sampling by transformers' own `generate`, for models that have no packed pass.

Left out on purpose: what draws from a model whose layers this package knows (rollouts.py).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from editgrpo.training.packed.plain import repeated
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.model import Policy
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.sampling.draw import draw
from editgrpo.training.sampling.sampler import Listener


class _Drawn(LogitsProcessor):  # type: ignore[misc]
    """Leaves one token of each row possible: the one that is drawn."""

    def __init__(
        self,
        uniforms_KT: Tensor,
        settings: SamplingSettings,
        prompt_tokens: int,
        listener: Listener | None,
    ) -> None:
        self._uniforms_KT, self._settings = uniforms_KT, settings
        self._prompt_tokens = prompt_tokens
        self._listener = listener
        self._ended: set[int] = set()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self._prompt_tokens
        tokens_K1 = draw(scores, self._uniforms_KT[:, step : step + 1], self._settings)
        if self._listener is not None:
            self._tell(tokens_K1[:, 0].tolist(), self._listener)
        return torch.full_like(scores, float("-inf")).scatter(1, tokens_K1, 0.0)

    def _tell(self, tokens_K: list[int], listener: Listener) -> None:
        """Tell the tokens of the rows that have not ended: `generate` draws for the others too."""
        for row, token in enumerate(tokens_K):
            if row not in self._ended:
                listener(row, token)
            if token in self._settings.eos_token_ids:
                self._ended.add(row)


@torch.no_grad()
def sample_plainly(
    model: Policy,
    prompts: Sequence[EncodedPrompt],
    uniforms_PK_T: Tensor,
    settings: SamplingSettings,
    *,
    listener: Listener | None = None,
) -> list[list[list[int]]]:
    """Sample K responses to each prompt, one prompt after another.

    Args:
        model: The policy in evaluation mode, unwrapped but for adapters.
        prompts: P prompts, with their images.
        uniforms_PK_T: (P, K, max_tokens) float64 in [0, 1): what decides each draw.
        settings: How to draw.
        listener: Told each token as it is drawn.

    Returns:
        For each prompt K responses; one ends with an end-of-sequence token unless it reached
        `max_tokens`.
    """
    configured = model.generation_config
    # Not as an argument: what is not said there would be taken from the model's own.
    model.generation_config = GenerationConfig(
        max_new_tokens=settings.max_tokens,
        do_sample=False,
        eos_token_id=list(settings.eos_token_ids) or None,
        pad_token_id=settings.pad_token_id,
    )
    try:
        return [
            _sample_one(
                model,
                prompt,
                uniforms_K_T.to(model.device),
                settings,
                _of_rows(listener, number * uniforms_K_T.shape[0]),
            )
            for number, (prompt, uniforms_K_T) in enumerate(
                zip(prompts, uniforms_PK_T, strict=True)
            )
        ]
    finally:
        model.generation_config = configured


def _of_rows(listener: Listener | None, first: int) -> Listener | None:
    """Return a listener for the rows of one prompt, the first of which has this number."""
    if listener is None:
        return None
    return lambda row, token: listener(first + row, token)


def _sample_one(
    model: Policy,
    prompt: EncodedPrompt,
    uniforms_KT: Tensor,
    settings: SamplingSettings,
    listener: Listener | None,
) -> list[list[int]]:
    rows, tokens = uniforms_KT.shape[0], prompt.input_ids_T.shape[0]
    inputs = repeated(prompt.stock_inputs(), rows, more=0, tokens=tokens)
    ids = prompt.input_ids_T.expand(rows, -1).to(model.device)
    found: Tensor = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        logits_processor=LogitsProcessorList([_Drawn(uniforms_KT, settings, tokens, listener)]),
        **{name: value.to(model.device) for name, value in inputs.items()},
    )
    return [_until_end(row, settings.eos_token_ids) for row in found[:, tokens:].tolist()]


def _until_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """Return the tokens up to the first that ends a response; it is followed by padding."""
    first = next((k for k, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[: first + 1]
