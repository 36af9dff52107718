"""Launches of a layer and calls of attention, held to what small models do."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from editgrpo.training.estimate.phases import (
    TEXT_KERNELS,
    VISION_KERNELS,
    WINDOW_COPIES,
    WINDOW_LENGTHS,
    attention_calls,
)
from editgrpo.training.estimate.read_shape import shape_of
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.window_attention import use_window_batches
from editgrpo.training.sampling.decoding import Decode, Prefill, SharedKeyValues, passes_through
from tests.training.estimate.models import CLASSES, small_config, small_model

PATCH_VALUES = 3 * 2 * 14 * 14


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
    """Build a Qwen2.5-VL of so many layers, all of its tower's with windows."""
    config = small_config("qwen2_5_vl", num_hidden_layers=layers)
    config.vision_config.depth, config.vision_config.fullatt_block_indexes = layers, []
    return CLASSES["qwen2_5_vl"][1](config).bfloat16().eval()


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


def vision_kernels(model: Any, sides: tuple[int, int] = (16, 8)) -> int:
    grid = torch.tensor([(1, *sides)])
    patches = torch.randn(sides[0] * sides[1], PATCH_VALUES, dtype=torch.bfloat16)
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


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen2_vl", "qwen3_vl"])
def test_calls_of_attention_for_an_image(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(family)
    use_window_batches(model)
    made: list[None] = []
    compute = torch.nn.functional.scaled_dot_product_attention

    def counted(*arguments: Any, **keywords: Any) -> torch.Tensor:
        made.append(None)
        return compute(*arguments, **keywords)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    with torch.no_grad():
        model.model.visual(torch.randn(200, PATCH_VALUES), grid_thw=torch.tensor([(1, 20, 10)]))
    assert len(made) == attention_calls(shape_of(model.config).vision)
