"""What a pass keeps, held to the tensors that autograd keeps in small models."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from editgrpo.training.estimate.activations import (
    PassSize,
    cast_bytes,
    forward_bytes,
    kept_bytes,
    largest_pass,
    layer_bytes,
    passing_bytes,
)
from editgrpo.training.estimate.published import QWEN2_5_VL_3B
from editgrpo.training.estimate.read_shape import shape_of
from editgrpo.training.estimate.states import Precision
from editgrpo.training.estimate.workload import Workload
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import pack_groups
from editgrpo.training.policy.processor import EncodedPrompt
from tests.training.estimate.models import QWEN, small_model

PROMPT, GROUP, ANSWER = 128, 6, 16
TOKENS = PROMPT - 1 + GROUP * ANSWER
SIZE = PassSize(tokens=TOKENS, prompt=PROMPT - 1, repeated=GROUP * (PROMPT - 1 + ANSWER))
# Wide enough that what grows with tokens alone, such as masks, is little beside the rest.
WIDE = {"hidden_size": 192, "intermediate_size": 700, "num_attention_heads": 12}


def kept_in_pass(family: str, layers: int, precision: Precision, *, checkpointing: bool) -> int:
    model: Any = small_model(family, **WIDE, num_hidden_layers=layers)
    if precision is Precision.BFLOAT16:
        model.bfloat16()
    model.train()
    model.model.visual.requires_grad_(False)
    add_group_pass(model, temperature=1.0)
    if checkpointing:
        model.gradient_checkpointing_enable()
    prompt = EncodedPrompt(
        study_id="s",
        input_ids_T=torch.arange(PROMPT),
        is_image_token_T=torch.zeros(PROMPT, dtype=torch.bool),
        pixel_values=None,
        image_grid_thw=None,
    )
    packed = pack_groups(model, [prompt], [[[7] * ANSWER] * GROUP], features=[None])
    return kept_by(model, lambda: packed_log_probs(model, packed), precision)


def kept_by(model: Any, run: Callable[[], Any], precision: Precision) -> int:
    """Return the bytes of storage that autograd keeps beside weights, each counted once."""
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    sizes: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # so that no address comes twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    has_autocast = precision is not Precision.FLOAT32
    autocast = torch.autocast("cpu", torch.bfloat16) if has_autocast else nullcontext()
    with saved_tensors_hooks(keep, lambda kept: kept), autocast:
        run()
    return sum(sizes.values())


@pytest.mark.slow
@pytest.mark.parametrize("family", QWEN)
@pytest.mark.parametrize("precision", Precision)
def test_what_autograd_keeps_of_a_layer(family: str, precision: Precision) -> None:
    three, two = (kept_in_pass(family, n, precision, checkpointing=False) for n in (3, 2))
    text = shape_of(small_model(family, **WIDE).config).text
    copies = 2 * text.layer_matrices if precision is Precision.AUTOCAST else 0
    expected = layer_bytes(text, SIZE, precision) + copies
    # The rest are masks of attention and roots of means, which have no width.
    assert expected == pytest.approx(three - two, rel=0.02)
    assert expected < three - two


@pytest.mark.slow
@pytest.mark.parametrize("precision", Precision)
def test_what_autograd_keeps_of_a_layer_of_gemma(precision: Precision) -> None:
    def kept(layers: int) -> int:
        kinds = ["full_attention"] * layers
        model = small_model("gemma3", **WIDE, num_hidden_layers=layers, layer_types=kinds)
        if precision is Precision.BFLOAT16:
            model.bfloat16()
        ids = torch.arange(200).repeat(2, 1)
        inputs = {"token_type_ids": 0 * ids, "use_cache": False, "logits_to_keep": 2}
        return kept_by(model.train(), lambda: model(input_ids=ids, **inputs), precision)

    text = shape_of(small_model("gemma3", **WIDE).config).text
    copies = 2 * text.layer_matrices if precision is Precision.AUTOCAST else 0
    # Of 2 rows of 200 tokens, keys and values for every head.
    expected = layer_bytes(text, PassSize(400, 400, 0), precision) + copies
    assert expected == pytest.approx(kept(3) - kept(2), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("precision", Precision)
def test_with_checkpointing_autograd_keeps_the_input_of_a_layer(precision: Precision) -> None:
    three, two = (kept_in_pass("qwen2_5_vl", n, precision, checkpointing=True) for n in (3, 2))
    text = shape_of(small_model("qwen2_5_vl", **WIDE).config).text
    kept = kept_bytes(text, SIZE, precision, is_checkpointed=True) / text.layers
    assert kept == three - two
    # 192 numbers a token, float32 where autocast or float32 computes.
    assert kept == TOKENS * 192 * (2 if precision is Precision.BFLOAT16 else 4)


def test_the_largest_pass_is_within_the_budget() -> None:
    work = Workload(
        prompts=32,
        group=10,
        sampled=5,
        images=4.2,
        patches=2048,
        prompt=2300,
        answer=125,
        longest=125,
        most=256,
        tokens_per_pass=16_384,
    )
    # A group has 2,299 + 10 x 125 = 3,549 columns; 4.6 of them make 16,384.
    size = largest_pass(work)
    groups = 16_384 / 3549
    assert size.tokens == 16_384
    assert size.prompt == pytest.approx(groups * 2299)
    assert size.repeated == pytest.approx(groups * 10 * (2299 + 125))
    assert work.passes == 8  # of 4 whole groups


def test_what_comes_and_goes_is_the_largest_of_three() -> None:
    text = QWEN2_5_VL_3B.text
    size = PassSize(tokens=16_384, prompt=10_000, repeated=100_000)

    def of(precision: Precision, **other: float) -> float:
        told: dict[str, Any] = {"is_checkpointed": True, "is_head_trained": True} | other
        return passing_bytes(text, size, precision, **told)

    # Copies of weights: 36 layers of 77,070,336 entries and the head's 311,164,928, 2 bytes each.
    copies = 2 * (36 * 77_070_336 + 311_164_928)
    assert of(Precision.AUTOCAST) == copies
    assert of(Precision.AUTOCAST, tower=1000) == copies + 2000
    assert cast_bytes(10, Precision.AUTOCAST) == 20
    assert cast_bytes(10, Precision.BFLOAT16) == cast_bytes(10, Precision.FLOAT32) == 0
    # Gradients of 3 x 11,008 numbers in 2 bytes and of 2 x 2,048 in 2, and the layer again.
    gradients = 16_384 * (3 * 2 * 11_008 + 2 * 2 * 2048)
    again = layer_bytes(text, size, Precision.BFLOAT16)
    assert of(Precision.BFLOAT16) == gradients + again
    # Without checkpointing the layer is among what is kept, and the head's gradient of
    # 311,164,928 numbers of 2 bytes is smaller than a layer's gradients.
    assert of(Precision.BFLOAT16, is_checkpointed=False) == gradients > 2 * 311_164_928


def test_a_pass_without_gradients_holds_one_layer() -> None:
    # A token: 3 x 11,008 numbers of 2 bytes; of 2,048 two of 2 bytes and two of 4.
    expected = 1000 * (3 * 2 * 11_008 + (2 * 2 + 2 * 4) * 2048)
    assert forward_bytes(QWEN2_5_VL_3B.text, 1000, Precision.BFLOAT16) == expected
