"""Before the first report of a run is sampled: does sampling take the tokens that the stock model
takes?

Another version of a library, another attention kernel or another model of the family could break
sampling without an error. So every run samples one report both ways, and stops if they differ.
"""

import logging
from dataclasses import replace

import torch
from torch import Tensor
from transformers import GenerationConfig

from editgrpo.config import DType
from editgrpo.errors import TrainingError
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.model import WrappedPolicy
from editgrpo.training.policy.positions import without_adapter_wrapper
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.window_attention import stock_windows
from editgrpo.training.sampling.decoding import whole_weights
from editgrpo.training.sampling.rollouts import sample_responses

_LOGGER = logging.getLogger(__name__)

# By how many nats the stock model may prefer its own token where sampling takes another: a tie but
# for rounding. One number, not a mean, so ten times the tolerance of the packed pass.
_TIE = {DType.FLOAT32: 1e-3, DType.BFLOAT16: 5e-1}
CHECKED_TOKENS = 16
"""Tokens that sampling and `generate` are compared in."""


def check_sampling(
    model: WrappedPolicy,
    prompt: EncodedPrompt,
    settings: SamplingSettings,
    *,
    dtype: DType,
) -> int:
    """Compare sampling with transformers' `generate`: the likeliest tokens after one prompt.

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
    model: WrappedPolicy, prompt: EncodedPrompt, settings: SamplingSettings
) -> tuple[list[int], Tensor]:
    """Let transformers generate; return its tokens and (C, V) float32 log-probabilities."""
    base = without_adapter_wrapper(model)
    inputs = {"input_ids": prompt.input_ids_T[None]} | prompt.stock_inputs()
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
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
