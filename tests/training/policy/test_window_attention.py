"""Windows in batches against the stock towers, which compute one window after another."""

import copy
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from editgrpo.training.packed.group_pass import add_group_pass
from editgrpo.training.policy import window_attention
from editgrpo.training.policy.window_attention import stock_windows, use_window_batches
from tests.training.tiny_run import Tiny

FAMILIES = ("qwen2.5-vl", "qwen2-vl")
WIDTH, LAYERS = 64, 3
TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
ROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
SPECIAL = {
    "image_token_id": 60,
    "video_token_id": 61,
    "vision_start_token_id": 62,
    "vision_end_token_id": 63,
}
# Rows and columns of patches of the images of one pass; a window has 8 x 8.
PASSES = {
    "one window": [(8, 8)],
    "less than a window": [(4, 6)],
    "whole windows": [(16, 24)],
    "windows cut on both sides": [(12, 10)],
    "several images": [(12, 10), (8, 8), (4, 22), (2, 2), (12, 10), (16, 8)],
}
SEVERAL = PASSES["several images"]


def a_model(family: str) -> Any:
    """Build a small float32 model whose tower has windows in its first and last layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        built: Any
        if family == "qwen2.5-vl":
            tower = {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": WIDTH}
            tower |= {"window_size": 112, "fullatt_block_indexes": [1]}
            config = Qwen2_5_VLConfig(
                text_config=TEXT | {"rope_parameters": ROPE},
                vision_config=tower | {"depth": LAYERS, "num_heads": 2, "patch_size": 14},
                **SPECIAL,
            )
            built = Qwen2_5_VLForConditionalGeneration(config)
        else:
            tower = {"embed_dim": 32, "hidden_size": WIDTH, "mlp_ratio": 2}
            built = Qwen2VLForConditionalGeneration(
                Qwen2VLConfig(
                    text_config=TEXT | {"rope_parameters": ROPE},
                    vision_config=tower | {"depth": LAYERS, "num_heads": 2, "patch_size": 14},
                    **SPECIAL,
                )
            )
        for parameter in built.parameters():  # a fresh model hardly looks at its input
            if parameter.dim() > 1:
                parameter.data.mul_(4)
    return built.train()


def images(sides: list[tuple[int, int]], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    patches = sum(rows * columns for rows, columns in sides)
    pixels = torch.randn(patches, 3 * 2 * 14 * 14, generator=generator)
    grids = torch.tensor([(1, *side) for side in sides])
    return {"hidden_states": pixels.to(dtype), "grid_thw": grids}


def encoded(tower: Any, sides: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Return features and the gradients of their weighted sum, float32."""
    dtype = next(tower.parameters()).dtype
    features = tower(**images(sides, dtype)).pooler_output.float()
    weights = torch.rand(features.shape, generator=torch.Generator().manual_seed(1))
    (weights * features).sum().backward()
    gradients = [p.grad for p in tower.parameters() if p.grad is not None]
    whole = [g.full_tensor() if isinstance(g, DTensor) else g for g in gradients]
    tower.zero_grad()
    return features.detach(), torch.cat([g.float().flatten() for g in whole])


def assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        # Of each other's size: a gradient that nearly cancels has no digits of its own.
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.fixture(params=FAMILIES)
def stock(request: pytest.FixtureRequest) -> Any:
    return a_model(request.param)


@pytest.fixture
def ours(stock: Any) -> Any:
    model = copy.deepcopy(stock)
    use_window_batches(model)
    return model


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Collect windows and columns of each call of SDPA."""
    seen: list[tuple[int, int]] = []
    compute = torch.nn.functional.scaled_dot_product_attention

    def counted(query: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        seen.append((query.shape[0], query.shape[2]))
        return compute(query, *arguments, **keywords)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    return seen


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect how many windows there were each time that lengths were read from the device."""
    seen: list[int] = []
    read = window_attention._windows

    def counted(bounds: Tensor) -> Any:
        seen.append(len(bounds) - 1)
        return read(bounds)

    monkeypatch.setattr(window_attention, "_windows", counted)
    return seen


# --- the same numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("sides", PASSES.values(), ids=PASSES)
def test_features_and_gradients_are_the_stock_towers(
    stock: Any, ours: Any, sides: list[tuple[int, int]]
) -> None:
    assert_same(encoded(ours.model.visual, sides), encoded(stock.model.visual, sides))


@pytest.mark.slow
def test_features_and_gradients_in_bfloat16(stock: Any, ours: Any) -> None:
    found, expected = (encoded(m.to(torch.bfloat16).model.visual, SEVERAL) for m in (ours, stock))
    for one, other in zip(found, expected, strict=True):
        # bfloat16 keeps 8 bits; the same products in other batches may round another way.
        torch.testing.assert_close(one, other, rtol=0, atol=2**-6 * float(other.abs().max()))


@pytest.mark.slow
def test_features_and_gradients_under_autocast(stock: Any, ours: Any) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (encoded(m.model.visual, SEVERAL) for m in (ours, stock))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2**-6 * float(other.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("reentrant", [False, True])
def test_layers_that_are_computed_again_give_the_same_gradients(
    stock: Any, ours: Any, reentrant: bool
) -> None:
    expected = encoded(stock.model.visual, SEVERAL)
    ours.gradient_checkpointing_enable({"use_reentrant": reentrant})
    assert_same(encoded(ours.model.visual, SEVERAL), expected)


@pytest.mark.slow
def test_an_image_among_others_has_the_features_that_it_has_alone(ours: Any) -> None:
    tower, together = ours.model.visual, images(SEVERAL)
    whole = tower(**together).pooler_output
    patches = [rows * columns for rows, columns in SEVERAL]
    alone = [
        tower(hidden_states=part, grid_thw=grid[None]).pooler_output
        for part, grid in zip(
            together["hidden_states"].split(patches), together["grid_thw"], strict=True
        )
    ]
    torch.testing.assert_close(whole, torch.cat(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_adapters_in_the_tower_are_at_work(stock: Any, ours: Any) -> None:
    config = peft.LoraConfig(r=2, target_modules=r".*visual.*\.(qkv|proj)", init_lora_weights=False)
    results = []
    for model in (stock, ours):
        plain = model.model.visual(**images(SEVERAL)).pooler_output
        torch.manual_seed(7)
        adapted = peft.get_peft_model(model, config).get_base_model().model.visual
        results.append(encoded(adapted, SEVERAL))
        assert not torch.allclose(results[-1][0], plain, atol=1e-2)
    assert_same(*results)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def sharded(tower: Any) -> Any:
    mesh = init_device_mesh("cpu", (1,))
    policy = MixedPrecisionPolicy(param_dtype=torch.float32, cast_forward_inputs=True)
    for module in (*tower.blocks, tower):
        fully_shard(module, mesh=mesh, mp_policy=policy)
    return tower


@pytest.mark.slow
@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("wrap", [sharded, DistributedDataParallel])
def test_towers_of_several_processes(
    stock: Any, ours: Any, readings: list[int], wrap: Callable[[Any], Any]
) -> None:
    tower = wrap(ours.model.visual)
    assert_same(encoded(tower, SEVERAL), encoded(stock.model.visual, SEVERAL))
    assert len(readings) == len(set(readings))


# --- fewer calls ---------------------------------------------------------------------------------


def test_windows_of_one_length_are_one_call(calls: list[tuple[int, int]]) -> None:
    """20 x 10 patches are two windows of 8 x 8, one of 4 x 8 below them, two of 8 x 2 and one of
    4 x 2 beside them."""
    model = a_model("qwen2.5-vl")
    use_window_batches(model)
    model.model.visual(**images([(20, 10)]))
    cut = [(1, 8), (2, 16), (1, 32), (2, 64)]
    assert calls == [*cut, (1, 200), *cut]


def test_images_of_one_size_are_one_call_where_there_are_no_windows(
    calls: list[tuple[int, int]],
) -> None:
    model = a_model("qwen2-vl")
    use_window_batches(model)
    model.model.visual(**images([(4, 6), (8, 8), (4, 6)]))
    assert calls == [(2, 24), (1, 64)] * LAYERS


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_lengths_are_read_once_a_pass(
    stock: Any, ours: Any, readings: list[int], checkpointing: bool
) -> None:
    if checkpointing:
        ours.gradient_checkpointing_enable({"use_reentrant": False})
    for _ in range(2):
        encoded(ours.model.visual, [(12, 10), (8, 8)])
    # Two images, of 2 x 2 windows and of one; Qwen2-VL has no windows.
    once = [5, 2] if hasattr(stock.model.visual, "window_size") else [2]
    assert readings == once * 2
    assert not len(window_attention._SEEN)  # nothing stays behind a pass


# --- copies, files, and what stays as it is ------------------------------------------------------


def test_a_copy_of_the_tower_computes_with_weights_of_its_own(
    stock: Any, ours: Any, calls: list[tuple[int, int]]
) -> None:
    expected = encoded(stock.model.visual, SEVERAL)
    calls.clear()
    tower = copy.deepcopy(ours.model.visual)
    for parameter in ours.model.visual.parameters():
        parameter.data.zero_()
    assert_same(encoded(tower, SEVERAL), expected)
    assert max(windows for windows, _ in calls) > 1
    assert all(p.grad is None for p in ours.model.visual.parameters())


@pytest.mark.slow
def test_nothing_of_it_is_saved(stock: Any, ours: Any, tmp_path: Path) -> None:
    for name, model in (("stock", stock), ("ours", ours)):
        model.save_pretrained(tmp_path / name)
    for name in ("config.json", "generation_config.json"):
        assert (tmp_path / "ours" / name).read_text() == (tmp_path / "stock" / name).read_text()
    assert ours.state_dict().keys() == stock.state_dict().keys()
    loaded = type(ours).from_pretrained(tmp_path / "ours")
    assert loaded.model.visual.config._attn_implementation == "sdpa"


@pytest.mark.slow
def test_a_model_that_was_saved_whole_computes_as_before(
    stock: Any, ours: Any, tmp_path: Path
) -> None:
    torch.save(ours, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert_same(encoded(loaded.model.visual, SEVERAL), encoded(stock.model.visual, SEVERAL))


def of_text_alone() -> Any:
    return Qwen2ForCausalLM(Qwen2Config(**TEXT))


def without_windows() -> Any:
    """Build a Qwen3-VL, whose patches see their whole image in every layer."""
    tower = {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": WIDTH}
    tower |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config=TEXT | {"rope_parameters": ROPE, "head_dim": 16},
            vision_config=tower | {"depth": LAYERS, "num_heads": 2, "patch_size": 14},
            **SPECIAL,
        )
    )


def with_attention(name: str) -> Any:
    model = a_model("qwen2.5-vl")
    # As a user's request leaves it; the kernels need not be installed.
    model.model.visual.config._attn_implementation = name
    return model


def of_another_class() -> Any:
    model = a_model("qwen2.5-vl")
    tower = model.model.visual
    tower.__class__ = type("OtherTower", (type(tower),), {})
    return model


@pytest.mark.parametrize(
    "build",
    [
        of_text_alone,
        without_windows,
        functools.partial(with_attention, "flash_attention_2"),
        functools.partial(with_attention, "eager"),
        of_another_class,
    ],
    ids=["text", "Qwen3-VL", "flash", "eager", "another class"],
)
def test_other_models_stay_as_they_are(build: Callable[[], Any]) -> None:
    model = build()
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    settings = model.config.to_dict()
    tower = getattr(model.model, "visual", None)
    attention = None if tower is None else tower.config._attn_implementation
    use_window_batches(model)
    assert {name: dict(vars(module)) for name, module in model.named_modules()} == before
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert model.config.to_dict() == settings
    assert tower is None or tower.config._attn_implementation == attention


@pytest.mark.slow
def test_asking_twice_changes_nothing_more(stock: Any, ours: Any) -> None:
    use_window_batches(ours)
    ours.model.visual.set_attn_implementation("sdpa")
    use_window_batches(ours)
    assert_same(encoded(ours.model.visual, SEVERAL), encoded(stock.model.visual, SEVERAL))


@pytest.mark.slow
def test_the_stock_tower_is_at_hand(
    stock: Any, ours: Any, calls: list[tuple[int, int]], readings: list[int]
) -> None:
    expected = encoded(stock.model.visual, SEVERAL)
    one_by_one = list(calls)
    calls.clear()
    wrapped = torch.nn.Sequential(ours)  # as DDP and others hold it
    with pytest.raises(KeyError), stock_windows(wrapped):
        found = encoded(ours.model.visual, SEVERAL)
        assert calls == one_by_one and not readings
        raise KeyError
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    calls.clear()
    encoded(ours.model.visual, SEVERAL)
    assert len(calls) < len(one_by_one) and readings


@pytest.mark.slow
def test_every_model_of_a_run_uses_it(tiny: Tiny, stock: Any) -> None:
    assert tiny.load().model.visual.config._attn_implementation == "editgrpo_windows"
    add_group_pass(stock, temperature=1.0)  # a reference, as TRL loads it
    assert stock.model.visual.config._attn_implementation == "editgrpo_windows"
