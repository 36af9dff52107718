"""On the first batch of a run: does the packed pass give what the stock model gives?

Another version of a library, another attention kernel or another model of the family could break
it without an error, and a run would train on wrong numbers for days. So every run computes the
log-probabilities of one group both ways before its first update, and stops if they differ.
Sampling has a check of its own (sampling/self_check.py).
"""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from editgrpo.config import DType
from editgrpo.errors import TrainingError
from editgrpo.training.packed.group_pass import packed_log_probs
from editgrpo.training.packed.packing import PackedGroups
from editgrpo.training.packed.plain import PlainGroups, last_logits, repeated
from editgrpo.training.policy.model import WrappedPolicy
from editgrpo.training.policy.positions import without_adapter_wrapper
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.window_attention import stock_windows

_LOGGER = logging.getLogger(__name__)

# Largest mean difference of log-probabilities, in nats. In float32 only the order of sums differs
# (1e-6 was seen). bfloat16 rounds to 3 digits in every layer, so that only gross faults stand out;
# what wrong positions do to so small a model as the tests' is below it.
_TOLERANCE = {DType.FLOAT32: 1e-4, DType.BFLOAT16: 5e-2}


@torch.no_grad()
def check_group_pass(
    model: WrappedPolicy,
    packed: PackedGroups | PlainGroups,
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
        The mean absolute difference of the log-probabilities, in nats; logged, too.

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
    name = "plain" if isinstance(packed, PlainGroups) else "packed"
    if not difference <= _TOLERANCE[dtype]:
        raise TrainingError(
            f"study {prompt.study_id}: the {name} pass and the stock model differ by "
            f"{difference:.2g} nats a token, more than {dtype.value} explains "
            f"({_TOLERANCE[dtype]:g}); stopped before an update. Check the versions of torch and "
            "transformers against the ones in constraints.txt, or start a run with another "
            "model.group_attention"
        )
    _LOGGER.info("%s pass and stock model agree to %.1g nats a token", name, difference)
    return difference


def stock_log_probs(
    model: WrappedPolicy, prompt: EncodedPrompt, response: Sequence[int], temperature: float = 1.0
) -> Tensor:
    """Score one response alone after its prompt with the model's own forward pass.

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
    inputs = repeated(
        prompt.stock_inputs(), 1, more=len(response), tokens=prompt.input_ids_T.shape[0]
    )
    logits_CV = model(
        input_ids=ids_1L,
        attention_mask=torch.ones_like(ids_1L),
        use_cache=False,
        **last_logits(without_adapter_wrapper(model).forward, len(response) + 1),
        **{name: value.to(device) for name, value in inputs.items()},
    ).logits[0, -len(response) - 1 : -1]
    log_probs_CV = (logits_CV.float() / temperature).log_softmax(dim=-1)
    log_probs: Tensor = log_probs_CV.gather(1, target_C[:, None])[:, 0]
    return log_probs
