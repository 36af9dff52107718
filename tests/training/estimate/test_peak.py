"""The peak of an update's forward and backward pass, held to what PyTorch really allocates."""

import functools
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from editgrpo.training.estimate.activations import (
    kept_bytes,
    largest_pass,
    passing_bytes,
)
from editgrpo.training.estimate.read_shape import shape_of
from editgrpo.training.estimate.states import Precision
from editgrpo.training.packed import group_pass
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import pack_groups
from editgrpo.training.policy.processor import EncodedPrompt
from tests.training.estimate.builders import recipe, work_of
from tests.training.estimate.models import small_model

pytestmark = pytest.mark.slow

GROUPS, PROMPT, GROUP, ANSWER = 2, 384, 6, 32
LOGITS = 2**16
# Wide beside its vocabulary, and long beside its width, as the true ones are.
SHAPE = {
    "hidden_size": 192,
    "intermediate_size": 1024,
    "num_attention_heads": 12,
    "num_hidden_layers": 5,
}


def prompt(number: int) -> EncodedPrompt:
    return EncodedPrompt(
        study_id=str(number),
        input_ids_T=torch.arange(PROMPT),
        is_image_token_T=torch.zeros(PROMPT, dtype=torch.bool),
        pixel_values=None,
        image_grid_thw=None,
    )


def most_allocated(run: Callable[[], None], trace: Path) -> int:
    """Return how far memory rises above what it was, in bytes."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    profiler.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    memory = [event["args"] for event in events if event.get("name") == "[memory]"]
    before = memory[0]["Total Allocated"] - memory[0]["Bytes"]
    return max(int(one["Total Allocated"]) for one in memory) - int(before)


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("is_checkpointed", [True, False])
def test_the_peak_of_a_pass(
    precision: Precision,
    is_checkpointed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = small_model("qwen2_5_vl", **SHAPE)
    if precision is Precision.BFLOAT16:
        model.bfloat16()
    model.train()
    model.model.visual.requires_grad_(False)
    if is_checkpointed:
        model.gradient_checkpointing_enable()
    scored = functools.partial(group_pass.response_log_probs, logits=LOGITS)
    monkeypatch.setattr(group_pass, "response_log_probs", scored)
    add_group_pass(model, temperature=1.0)
    packed = pack_groups(
        model,
        [prompt(number) for number in range(GROUPS)],
        [[[7] * ANSWER] * GROUP] * GROUPS,
        features=[None] * GROUPS,
    )

    def update() -> None:
        has_autocast = precision is not Precision.FLOAT32
        with torch.autocast("cpu", torch.bfloat16) if has_autocast else nullcontext():
            log_probs_BC, _ = packed_log_probs(model, packed)
        log_probs_BC.sum().backward()

    update()  # gradients are there from now on
    found = most_allocated(update, tmp_path / "trace.json")
    text, told = shape_of(model.config).text, {"is_checkpointed": is_checkpointed}
    size = largest_pass(
        work_of(
            recipe(),
            prompts=GROUPS,
            group=GROUP,
            prompt=PROMPT,
            answer=ANSWER,
            longest=ANSWER,
            tokens_per_pass=10**6,
        )
    )
    expected = (
        kept_bytes(text, size, precision, **told)
        + passing_bytes(text, size, precision, is_head_trained=True, **told)
        + 4 * 4 * LOGITS
    )
    # Rather too much than too little: not all of what comes and goes is there at one moment.
    assert 0.95 * found < expected < 1.2 * found
