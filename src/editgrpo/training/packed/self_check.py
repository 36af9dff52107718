"""On the first batch of a run: do sampling and the packed pass give what the stock model gives?

Another version of a library, another attention kernel or another model of the family could break
either without an error, and a run would train on wrong numbers for days. So every run samples one
report both ways before its first rollout, computes the log-probabilities of one group both ways
before its first update, and stops if they differ.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from editgrpo.config import DType
from editgrpo.errors import TrainingError
from editgrpo.training.packed.group_pass import packed_log_probs
from editgrpo.training.packed.packing import PackedGroups
from editgrpo.training.policy.positions import without_adapter_wrapper
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.window_attention import stock_windows
from editgrpo.training.sampling.decoding import whole_weights
from editgrpo.training.sampling.rollouts import SamplingSettings, sample_responses

_LOGGER = logging.getLogger(__name__)

# Largest mean difference of log-probabilities, in nats. In float32 only the order of sums differs
# (1e-6 was seen). bfloat16 rounds to 3 digits in every layer, so that only gross faults stand out;
# what wrong positions do to so small a model as the tests' is below it.
_TOLERANCE = {DType.FLOAT32: 1e-4, DType.BFLOAT16: 5e-2}
# By how many nats the stock model may prefer its own token where sampling takes another: a tie but
# for rounding. One number, not a mean, so ten times the tolerance above.
_TIE = {DType.FLOAT32: 1e-3, DType.BFLOAT16: 5e-1}
CHECKED_TOKENS = 16
"""Tokens that sampling and `generate` are compared in."""


@torch.no_grad()
def check_group_pass(
    model: Any,
    packed: PackedGroups,
    prompt: EncodedPrompt,
    responses: Sequence[Sequence[int]],
    *,
    dtype: DType,
    temperature: float,
) -> float:
    """Compare the packed pass over one group with the stock forward pass, its vision tower
    included, over each response.

    Args:
        model: The policy, wrapped or not, as the run is about to train it.
        packed: The group alone, with features if the run uses features, on the model's device.
        prompt: The group's prompt, with its images' patches.
        responses: The group's responses.
        dtype: What the run computes in.
        temperature: What the packed pass divides logits by.

    Returns:
        The mean absolute difference of the log-probabilities, in nats.

    Raises:
        TrainingError: it is larger than rounding explains.
    """
    log_probs_BC, _ = packed_log_probs(model, packed)
    with stock_windows(model):
        differences = [
            (stock_log_probs(model, prompt, response, temperature) - row[: len(response)]).abs()
            for response, row in zip(responses, log_probs_BC, strict=True)
        ]
    difference = float(torch.cat(differences).mean())
    if not difference <= _TOLERANCE[dtype]:
        raise TrainingError(
            f"study {prompt.study_id}: the packed pass and the stock model differ by "
            f"{difference:.2g} nats a token, more than {dtype.value} explains "
            f"({_TOLERANCE[dtype]:g}); stopped before an update. Check the versions of torch and "
            "transformers against the ones in constraints.txt, or start a run with another "
            "model.group_attention"
        )
    return difference


def stock_log_probs(
    model: Any, prompt: EncodedPrompt, response: Sequence[int], temperature: float = 1.0
) -> Tensor:
    """Score one response alone behind its prompt with the model's own forward pass.

    Args:
        model: The model, wrapped or not.
        prompt: The prompt, with its images' patches.
        response: Token ids.
        temperature: Logits are divided by it.

    Returns:
        (C,) float32 log-probabilities of the response's tokens.
    """
    device = next(model.parameters()).device
    target_C = torch.tensor(response, device=device)
    ids_1L = torch.cat([prompt.input_ids_T.to(device), target_C])[None]
    inputs: dict[str, Tensor] = {}
    if prompt.pixel_values is not None and prompt.image_grid_thw is not None:
        is_image_1L = torch.zeros_like(ids_1L, dtype=torch.int)
        is_image_1L[0, : prompt.input_ids_T.shape[0]] = prompt.is_image_token_T
        inputs = {
            "pixel_values": prompt.pixel_values.to(device),
            "image_grid_thw": prompt.image_grid_thw.to(device),
            "mm_token_type_ids": is_image_1L,
        }
    logits_CV = model(
        input_ids=ids_1L,
        attention_mask=torch.ones_like(ids_1L),
        use_cache=False,
        logits_to_keep=len(response) + 1,
        **inputs,
    ).logits[0, :-1]
    log_probs_CV = (logits_CV.float() / temperature).log_softmax(dim=-1)
    log_probs: Tensor = log_probs_CV.gather(1, target_C[:, None])[:, 0]
    return log_probs


def check_sampling(
    model: Any,
    prompt: EncodedPrompt,
    settings: SamplingSettings,
    *,
    dtype: DType,
) -> int:
    """Compare sampling with transformers' `generate`: the likeliest tokens behind one prompt.

    Nothing is drawn: no generator moves. Where the two part, both tokens may be as likely but for
    rounding; what follows them is then of another text, and is not compared.

    Args:
        model: The policy in evaluation mode, unwrapped but for adapters.
        prompt: A prompt, with its images' patches.
        settings: Whose forbidden tokens count; the rest of it does not matter.
        dtype: What the policy computes in.

    Returns:
        How many tokens agree, at most `CHECKED_TOKENS`; logged, too.

    Raises:
        TrainingError: the stock model takes another token, and rounding does not explain it.
    """
    greedy = replace(settings, max_tokens=CHECKED_TOKENS, eos_token_ids=(), temperature=0.0)
    unused_1K_T = torch.zeros(1, 1, CHECKED_TOKENS, dtype=torch.float64)
    ((ours,),) = sample_responses(model, [prompt], unused_1K_T, greedy)
    stock, log_probs_CV = _stock_greedy(model, prompt, greedy)
    agreed = 0
    for our, its, log_probs_V in zip(ours, stock, log_probs_CV, strict=True):
        gap = float(log_probs_V[its] - log_probs_V[our])
        if our != its and not gap <= _TIE[dtype]:
            raise TrainingError(
                f"study {prompt.study_id}: as token {agreed + 1} sampling takes {our} and "
                f"transformers' generate {its}, which the model finds likelier by {gap:.2g} nats, "
                f"more than {dtype.value} explains ({_TIE[dtype]:g}); stopped before a report was "
                "written. Check the versions of torch and transformers against constraints.txt"
            )
        if our != its:
            break
        agreed += 1
    _LOGGER.info("sampling and transformers' generate agree in %d of %d tokens", agreed, len(ours))
    return agreed


def _stock_greedy(
    model: Any, prompt: EncodedPrompt, settings: SamplingSettings
) -> tuple[list[int], Tensor]:
    """Let transformers generate; return its tokens and (C, V) float32 log-probabilities."""
    base = without_adapter_wrapper(model)
    inputs = {"input_ids": prompt.input_ids_T[None]}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if prompt.pixel_values is not None and prompt.image_grid_thw is not None:
        inputs |= {
            "pixel_values": prompt.pixel_values,
            "image_grid_thw": prompt.image_grid_thw,
            "mm_token_type_ids": prompt.is_image_token_T[None].int(),
        }
    configured = base.generation_config
    # Not as an argument: what is not said there would be taken from the model's own, such as a
    # repetition penalty.
    base.generation_config = GenerationConfig(
        max_new_tokens=settings.max_tokens,
        do_sample=False,
        pad_token_id=settings.pad_token_id,
        suppress_tokens=list(settings.forbidden_token_ids) or None,
        return_dict_in_generate=True,
        output_logits=True,
    )
    try:
        # Processes look at other prompts, with images or without.
        with stock_windows(model), whole_weights(model):
            found = base.generate(**{name: x.to(base.device) for name, x in inputs.items()})
    finally:
        base.generation_config = configured
    tokens: list[int] = found.sequences[0, prompt.input_ids_T.shape[0] :].tolist()
    logits_CV = torch.cat(found.logits).float()
    if settings.forbidden_token_ids:
        logits_CV[:, list(settings.forbidden_token_ids)] = float("-inf")
    return tokens, logits_CV.log_softmax(dim=-1)
