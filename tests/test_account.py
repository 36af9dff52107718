"""The account of docs/performance.md, held to the real model."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from benchmarks.account import main
from benchmarks.account_cpu import CPU_MODEL, CPU_WORK, ideal_ratio
from benchmarks.account_memory import lora_parameters
from benchmarks.account_model import (
    FORWARD,
    QWEN2_5_VL_3B,
    RECOMPUTE,
    ModelShape,
    Rows,
    Work,
    shape_of,
    text_flops,
    vision_flops,
)
from benchmarks.account_step import (
    OURS,
    PAPER,
    TEXT_KERNELS,
    TRL,
    VISION_KERNELS,
    WINDOW_COPIES,
    WINDOW_LENGTHS,
    Pairs,
    WindowCalls,
    Workload,
    attention_calls,
    encodings,
    packed_rows,
)
from benchmarks.workload import (
    GROUP,
    IMAGES,
    PROMPT,
    RESPONSE,
    SHAPE,
    Case,
    image_grid,
    response_lengths,
)
from peft import LoraConfig, get_peft_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from editgrpo.config import AttentionKernel
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import PackedGroups, pack_groups
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.tiny import build_tiny_model, train_tokenizer
from editgrpo.training.policy.window_attention import use_window_batches
from editgrpo.training.sampling.decoding import Decode, Prefill, SharedKeyValues, passes_through
from tests.builders import REPOSITORY


def config_3b() -> Qwen2_5_VLConfig:
    """Qwen2.5-VL-3B; what is not named here is the configuration's default."""
    return Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 2048,
            "intermediate_size": 11_008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "vocab_size": 151_936,
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 2048,
        },
        tie_word_embeddings=True,
    )


def test_parameters_are_those_of_the_real_model() -> None:
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config_3b())
    model.tie_weights()
    shape = shape_of(model.config)
    assert shape == QWEN2_5_VL_3B
    assert shape.vision.parameters == model.model.visual.num_parameters()
    assert shape.text.parameters == model.model.language_model.num_parameters()
    assert shape.parameters == model.num_parameters()


# --- operations, against what PyTorch counts in the real model -----------------------------------

SMALL = {
    "text_config": {
        "hidden_size": 96,
        "intermediate_size": 200,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "vocab_size": 500,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [2, 3, 3],
        },
    },
    "vision_config": {
        "depth": 4,
        "hidden_size": 64,
        "intermediate_size": 150,
        "num_heads": 4,
        "out_hidden_size": 96,
        "fullatt_block_indexes": [1, 3],
    },
    "image_token_id": 490,
    "video_token_id": 491,
    "vision_start_token_id": 492,
    "vision_end_token_id": 493,
    "tie_word_embeddings": True,
}
SIDES = ((16, 8), (8, 24))  # patches of two images: 2 and 3 windows
PATCHES = [height * width for height, width in SIDES]
ROWS, TEXT_TOKENS = 2, 40
# PyTorch's decomposed attention keeps its scores, so its backward pass has twice the products of
# its forward pass; one that is fused computes the scores again.
BACKWARD_UNFUSED = Work(matrices=2, attention=2, head=2)


@pytest.fixture(scope="module")
def small() -> Qwen2_5_VLForConditionalGeneration:
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**SMALL))


def stock_inputs() -> dict[str, torch.Tensor]:
    """Rows without padding, both images in each."""
    images = [token for n in PATCHES for token in (492, *[490] * (n // 4), 493)]
    row = torch.tensor([*images, *range(TEXT_TOKENS)])
    grids = torch.tensor([(1, *side) for side in SIDES])
    return {
        "input_ids": row.repeat(ROWS, 1),
        "mm_token_type_ids": (row == 490).int().repeat(ROWS, 1),
        "pixel_values": torch.randn(ROWS * sum(PATCHES), 3 * 2 * 14 * 14),
        "image_grid_thw": grids.repeat(ROWS, 1),
    }


def counted(run: Callable[[], Any]) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def predicted(shape: ModelShape, work: Work) -> float:
    tokens = sum(n // 4 + 2 for n in PATCHES) + TEXT_TOKENS
    # This kernel computes all pairs and masks half of them out.
    rows = Rows(tokens=tokens, pairs=tokens**2, scored=tokens).times(ROWS)
    images = sum(vision_flops(shape.vision, n, work) for n in PATCHES)
    return text_flops(shape.text, rows, work) + ROWS * images


def test_forward_pass_of_stock_rows(small: Any) -> None:
    inputs = stock_inputs()
    with torch.no_grad():
        found = counted(lambda: small(**inputs))
    assert found == pytest.approx(predicted(shape_of(small.config), FORWARD), rel=1e-9)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_pass_of_stock_rows(small: Any, checkpointing: bool) -> None:
    model, work = copy.deepcopy(small).train(), FORWARD + BACKWARD_UNFUSED
    if checkpointing:
        model.gradient_checkpointing_enable()
        work += RECOMPUTE
    inputs = stock_inputs()
    found = counted(lambda: model(**inputs).logits.sum().backward())
    assert found == pytest.approx(predicted(shape_of(small.config), work), rel=1e-9)


RESPONSES, RESPONSE_TOKENS = 5, 9


def packed_group(model: Any, kernel: AttentionKernel) -> PackedGroups:
    inputs = {name: value.tensor_split(ROWS)[0] for name, value in stock_inputs().items()}
    prompt = EncodedPrompt(
        study_id="s",
        input_ids_T=inputs["input_ids"][0],
        is_image_token_T=inputs["mm_token_type_ids"][0].bool(),
        pixel_values=inputs["pixel_values"],
        image_grid_thw=inputs["image_grid_thw"],
    )
    return pack_groups(model, [prompt], [[[7] * RESPONSE_TOKENS] * RESPONSES], kernel=kernel)


def score(model: Any, packed: PackedGroups, *, backward: bool) -> None:
    log_probs_BC, _ = packed_log_probs(model, packed)
    if backward:
        log_probs_BC.sum().backward()


@pytest.mark.parametrize("kernel", [AttentionKernel.SPLIT, AttentionKernel.DENSE])
@pytest.mark.parametrize("is_trained", [False, True])
def test_packed_pass(small: Any, kernel: AttentionKernel, is_trained: bool) -> None:
    model = copy.deepcopy(small)
    add_group_pass(model, temperature=1.0)
    packed, shape = packed_group(model, kernel), shape_of(model.config)
    with torch.set_grad_enabled(is_trained):
        found = counted(lambda: score(model, packed, backward=is_trained))
    prompt = packed.input_ids_1L.shape[1] - RESPONSES * RESPONSE_TOKENS + 1
    work = Workload(prompts=1, group=RESPONSES, answer=RESPONSE_TOKENS, prompt=prompt)
    if kernel is AttentionKernel.DENSE:
        rows = packed_rows(work, replace(OURS, pairs=Pairs.DENSE, tokens_per_pass=1))
    else:
        rows = packed_rows(work, OURS)
        # PyTorch's decomposed attention computes the half above the diagonal of the prompt too.
        rows = replace(rows, pairs=rows.pairs + (prompt - 1) ** 2 / 2)
    passes = FORWARD + BACKWARD_UNFUSED if is_trained else FORWARD
    images = sum(vision_flops(shape.vision, n, passes) for n in PATCHES)
    expected = text_flops(shape.text, rows, passes) + images
    assert found == pytest.approx(expected, rel=1e-9)


# --- launches ------------------------------------------------------------------------------------


class Kernels(TorchDispatchMode):
    """Counts operations that are no views."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_free = func.is_view or func.name() in ("aten::_unsafe_view", "aten::detach")
        self.count += not is_free and "empty" not in func.name()
        return func(*args, **(kwargs or {}))


def in_bfloat16(layers: int) -> Any:
    text = SMALL["text_config"] | {"num_hidden_layers": layers}
    vision = SMALL["vision_config"] | {"depth": layers, "fullatt_block_indexes": []}
    config = Qwen2_5_VLConfig(**SMALL | {"text_config": text, "vision_config": vision})
    return Qwen2_5_VLForConditionalGeneration(config).bfloat16().eval()


def decoding_kernels(model: Any) -> int:
    prompt = EncodedPrompt(
        study_id="s",
        input_ids_T=torch.arange(8),
        is_image_token_T=torch.zeros(8, dtype=torch.bool),
        pixel_values=None,
        image_grid_thw=None,
    )
    kept = SharedKeyValues([8], 2, torch.device("cpu"))
    with torch.no_grad(), passes_through(model) as run:
        run(Prefill(kept, {0: prompt}, {}))
        kept.extend(4)
        one = Decode(kept, torch.ones(1, 2, dtype=torch.long), torch.full((1, 2), 8))
        with Kernels() as kernels:
            run(one)
    return kernels.count


def vision_kernels(model: Any, sides: tuple[int, int] = SIDES[0]) -> int:
    grid = torch.tensor([(1, *sides)])
    patches = torch.randn(sides[0] * sides[1], 3 * 2 * 14 * 14, dtype=torch.bfloat16)
    with torch.no_grad(), Kernels() as kernels:
        model.model.visual(patches, grid_thw=grid)
    return kernels.count


def test_kernels_of_a_layer() -> None:
    two, three = in_bfloat16(2), in_bfloat16(3)
    # transformers' releases differ in casts.
    assert decoding_kernels(three) - decoding_kernels(two) == pytest.approx(TEXT_KERNELS, rel=0.2)
    windows = 2
    beside = vision_kernels(three) - vision_kernels(two) - windows
    assert beside == pytest.approx(VISION_KERNELS, rel=0.2)


def test_kernels_of_windows_in_batches() -> None:
    """20 x 10 patches are six windows of four lengths."""

    def of_a_layer() -> int:
        return vision_kernels(three, (20, 10)) - vision_kernels(two, (20, 10))

    two, three = in_bfloat16(2), in_bfloat16(3)
    beside_calls = of_a_layer() - 6
    use_window_batches(two)
    use_window_batches(three)
    assert of_a_layer() - WINDOW_LENGTHS == beside_calls + WINDOW_COPIES


@pytest.mark.parametrize("calls", [WindowCalls.EACH, WindowCalls.LENGTH])
def test_calls_of_attention_for_an_image(
    small: Any, calls: WindowCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shape = copy.deepcopy(small), shape_of(small.config).vision
    # What is counted as one call a window has whole ones only, as the account's image.
    sides = (16, 24) if calls is WindowCalls.EACH else (20, 10)
    if calls is WindowCalls.LENGTH:
        use_window_batches(model)
    made: list[None] = []
    compute = torch.nn.functional.scaled_dot_product_attention

    def counted(*arguments: Any, **keywords: Any) -> torch.Tensor:
        made.append(None)
        return compute(*arguments, **keywords)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    patches = sides[0] * sides[1]
    with torch.no_grad():
        model.model.visual(torch.randn(patches, 3 * 2 * 14 * 14), torch.tensor([(1, *sides)]))
    system = replace(OURS, window_calls=calls)
    assert len(made) == attention_calls(shape, Workload(patches=patches), system)


# --- what follows from the counts ----------------------------------------------------------------


def test_adapters_are_those_that_peft_makes(small: Any) -> None:
    targets = r".*language_model.*\.(q|k|v|o)_proj"
    adapted = get_peft_model(copy.deepcopy(small), LoraConfig(r=4, target_modules=targets))
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert lora_parameters(shape_of(small.config).text, 4) == trained


def test_images_are_encoded_as_often_as_each_trainer_does() -> None:
    # 4.2 images of 32 prompts once, or for 10 sampled rows and in two passes over 10 rows.
    assert encodings(PAPER, OURS) == pytest.approx(32 * 4.2)
    assert encodings(PAPER, TRL) == pytest.approx(32 * 4.2 * 30)


def test_ideal_ratio_is_that_of_tokens() -> None:
    # 10 rows of 540 + 60 tokens; 540 + 10 x 60 in one row.
    assert ideal_ratio(CPU_WORK) == pytest.approx(6000 / 1140)


def test_expectations_for_the_cpu_are_of_the_benchmarks_own_shapes() -> None:
    tokenizer = train_tokenizer(["the heart is normal"], SHAPE.vocabulary)
    shape = shape_of(build_tiny_model(tokenizer, SHAPE, seed=0).config)
    vocabulary = replace(shape.text, vocabulary=SHAPE.vocabulary)
    assert replace(shape, text=vocabulary) == CPU_MODEL
    rows, columns = image_grid(Case())
    assert (CPU_WORK.images, CPU_WORK.patches) == (IMAGES, 4 * rows * columns)
    assert (CPU_WORK.prompt, CPU_WORK.answer, CPU_WORK.group) == (PROMPT, RESPONSE, GROUP)
    assert CPU_WORK.longest == max(response_lengths(Case()))


def test_the_page_holds_the_tables_as_they_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    page = (REPOSITORY / "docs" / "performance.md").read_text("utf-8").splitlines()
    # The page may have further columns behind, such as what was measured.
    missing = [r for r in rows if not any(line.startswith(r.removesuffix("|")) for line in page)]
    assert rows and missing == []
