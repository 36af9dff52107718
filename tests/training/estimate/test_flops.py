"""Operations, held to what PyTorch counts in small models of each family."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from editgrpo.config import AttentionKernel
from editgrpo.training.estimate.flops import (
    BACKWARD_FROZEN,
    FORWARD,
    RECOMPUTE,
    Rows,
    Work,
    text_flops,
    vision_flops,
)
from editgrpo.training.estimate.read_shape import shape_of
from editgrpo.training.estimate.workload import Workload, group_rows
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import PackedGroups, pack_groups
from editgrpo.training.policy.families._square import SquarePrompt
from editgrpo.training.policy.processor import EncodedPrompt
from tests.training.estimate.models import FAMILIES, IMAGE_TOKEN, small_model

SIDES = ((16, 8), (8, 24))  # patches of two images: 2 and 3 windows of Qwen2.5-VL
GEMMA_PATCHES = 64  # 8 x 8 of each of two images, whatever their size
ROWS, TEXT_TOKENS = 2, 40
# PyTorch's decomposed attention keeps its scores, so its backward pass has twice the products of
# its forward pass; one that is fused computes the scores again. Of the head nothing is computed
# again in stock rows.
BACKWARD_UNFUSED = Work(matrices=2, attention=2, head=2)
PATCH_VALUES = 3 * 2 * 14 * 14


@pytest.fixture(scope="module", params=FAMILIES)
def small(request: Any) -> Any:
    return small_model(request.param)


def patches_of(model: Any) -> list[int]:
    if model.config.model_type == "gemma3":
        return [GEMMA_PATCHES] * 2
    return [height * width for height, width in SIDES]


def stock_inputs(model: Any) -> dict[str, torch.Tensor]:
    """Rows without padding, both images in each."""
    merged = shape_of(model.config).vision.merge ** 2
    marked = [
        token for n in patches_of(model) for token in (492, *[IMAGE_TOKEN] * (n // merged), 493)
    ]
    row = torch.tensor([*marked, *range(TEXT_TOKENS)])
    kinds = (row == IMAGE_TOKEN).int().repeat(ROWS, 1)
    inputs = {"input_ids": row.repeat(ROWS, 1)}
    if model.config.model_type == "gemma3":
        images = torch.randn(2 * ROWS, 3, 112, 112)
        return {**inputs, "token_type_ids": kinds, "pixel_values": images}
    grids = torch.tensor([(1, *side) for side in SIDES])
    return {
        **inputs,
        "mm_token_type_ids": kinds,
        "pixel_values": torch.randn(ROWS * sum(patches_of(model)), PATCH_VALUES),
        "image_grid_thw": grids.repeat(ROWS, 1),
    }


def counted(run: Callable[[], Any]) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def predicted(model: Any, work: Work) -> float:
    shape = shape_of(model.config)
    tokens = stock_inputs(model)["input_ids"].shape[1]
    # This kernel computes all pairs and masks half of them out.
    rows = Rows(tokens=tokens, pairs=tokens**2, scored=tokens).times(ROWS)
    images = sum(vision_flops(shape.vision, n, work) for n in patches_of(model))
    return text_flops(shape.text, rows, work) + ROWS * images


@pytest.mark.slow
def test_forward_pass_of_stock_rows(small: Any) -> None:
    inputs = stock_inputs(small)
    with torch.no_grad():
        found = counted(lambda: small(**inputs))
    assert found == pytest.approx(predicted(small, FORWARD), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_pass_of_stock_rows(small: Any, checkpointing: bool) -> None:
    model, work = copy.deepcopy(small).train(), FORWARD + BACKWARD_UNFUSED
    if checkpointing:
        model.gradient_checkpointing_enable()
        work += RECOMPUTE
    inputs = stock_inputs(model)
    found = counted(lambda: model(**inputs).logits.sum().backward())
    assert found == pytest.approx(predicted(model, work), rel=1e-9)


def test_frozen_weights_have_no_gradients_to_compute() -> None:
    """All weights frozen, the embeddings of text given as what is trained."""
    model = small_model("qwen2_5_vl").requires_grad_(False)
    shape, tokens = shape_of(model.config), 30
    embeddings = torch.randn(1, tokens, shape.text.hidden, requires_grad=True)
    places = torch.arange(tokens).expand(3, 1, -1)
    inputs = {"inputs_embeds": embeddings, "position_ids": places}
    found = counted(lambda: model(**inputs).logits.sum().backward())
    rows = Rows(tokens=tokens, pairs=tokens**2, scored=tokens)
    # Of the decomposed attention, both factors of both products have gradients; the head of stock
    # rows is not computed again.
    backward = replace(BACKWARD_FROZEN, attention=2, head=1)
    assert found == pytest.approx(text_flops(shape.text, rows, FORWARD + backward), rel=1e-9)


RESPONSES, RESPONSE_TOKENS = 5, 9
RESPONSE_IDS = [[[7] * RESPONSE_TOKENS] * RESPONSES]


def packed_group(model: Any, kernel: AttentionKernel) -> PackedGroups:
    inputs = {name: value.tensor_split(ROWS)[0] for name, value in stock_inputs(model).items()}
    if model.config.model_type == "gemma3":
        is_image_T = inputs["token_type_ids"][0].bool()
        images = inputs["pixel_values"].flatten(1)
        prompt: EncodedPrompt = SquarePrompt(
            study_id="s",
            input_ids_T=inputs["input_ids"][0],
            is_image_token_T=is_image_T,
            pixel_values=images,
            image_grid_thw=torch.ones(images.shape[0], 3, dtype=torch.long),
            token_types="token_type_ids",
        )
        return pack_groups(model, [prompt], RESPONSE_IDS, kernel=kernel)
    prompt = EncodedPrompt(
        study_id="s",
        input_ids_T=inputs["input_ids"][0],
        is_image_token_T=inputs["mm_token_type_ids"][0].bool(),
        pixel_values=inputs["pixel_values"],
        image_grid_thw=inputs["image_grid_thw"],
    )
    return pack_groups(model, [prompt], RESPONSE_IDS, kernel=kernel)


def score(model: Any, packed: PackedGroups, *, backward: bool) -> None:
    log_probs_BC, _ = packed_log_probs(model, packed)
    if backward:
        log_probs_BC.sum().backward()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kernel", [AttentionKernel.SPLIT, AttentionKernel.DENSE])
@pytest.mark.parametrize("is_trained", [False, True])
def test_packed_pass(family: str, kernel: AttentionKernel, is_trained: bool) -> None:
    model = small_model(family)
    add_group_pass(model, temperature=1.0)
    packed, shape = packed_group(model, kernel), shape_of(model.config)
    with torch.set_grad_enabled(is_trained):
        found = counted(lambda: score(model, packed, backward=is_trained))
    prompt = packed.input_ids_1L.shape[1] - RESPONSES * RESPONSE_TOKENS + 1
    work = replace(one_group(prompt), masks_prompts=shape.masks_prompts)
    if kernel is AttentionKernel.DENSE:
        rows = group_rows(replace(work, is_dense=True))
    else:
        rows = group_rows(work)
        if not work.masks_prompts:
            # PyTorch's decomposed attention computes the half above the diagonal of the prompt too.
            rows = replace(rows, pairs=rows.pairs + (prompt - 1) ** 2 / 2)
    passes = FORWARD + BACKWARD_UNFUSED if is_trained else FORWARD
    images = sum(vision_flops(shape.vision, n, passes) for n in patches_of(model))
    expected = text_flops(shape.text, rows, passes) + images
    assert found == pytest.approx(expected, rel=1e-9)


def one_group(prompt: int) -> Workload:
    return Workload(
        prompts=1,
        group=RESPONSES,
        sampled=RESPONSES,
        images=2,
        patches=1,
        prompt=prompt,
        answer=RESPONSE_TOKENS,
        longest=RESPONSE_TOKENS,
        most=RESPONSE_TOKENS,
        tokens_per_pass=1,
    )


def test_rows_of_the_plain_path_are_separate() -> None:
    work = replace(one_group(prompt=20), is_packed=False)
    rows = group_rows(work)
    # 5 rows of 20 + 9 tokens, all pairs, and logits of 9 tokens and the one before them.
    assert (rows.tokens, rows.pairs, rows.scored) == (145, 5 * 29**2, 50)
