"""Image features against the stock vision tower, and a store of them that changes no bit."""

import copy
import errno
import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from editgrpo.data.prompt import Prompt
from editgrpo.errors import DataError, TrainingError
from editgrpo.training.policy.families import family_named
from editgrpo.training.policy.feature_files import FeatureDisk
from editgrpo.training.policy.features import FeatureCounts, FeatureStore, encode_images
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.processor import EncodedPrompt
from tests.training.small_models import WITH_IMAGES, encoded_by, small_model, stock_features
from tests.training.tiny_run import SHAPE, Tiny

# (height, width) of the images of four prompts, in pixels; a patch is 14, an image token 28, an
# attention window of the tower 112. The third prompt shows an image of the first again.
SIZES = (((56, 28), (140, 84)), ((28, 28),), ((140, 84), (84, 56)), ())
IDS = (("a", "b"), ("c",), ("b", "d"), ())
TOKENS_OF_B = 5 * 3
BF16 = partial(torch.autocast, "cpu", dtype=torch.bfloat16)


@pytest.fixture(params=WITH_IMAGES)
def model(tiny: Tiny, request: pytest.FixtureRequest) -> Any:
    built = small_model(request.param, tiny)
    built.model.visual.fullatt_block_indexes = []  # Qwen2.5-VL: windows in every layer
    return built


@pytest.fixture(params=["qwen2.5-vl", "qwen3-vl"])
def tower(tiny: Tiny, request: pytest.FixtureRequest) -> Any:
    return small_model(request.param, tiny).model.visual.requires_grad_(False)


@pytest.fixture
def prompts(tiny: Tiny) -> list[EncodedPrompt]:
    processor = load_processor(tiny.checkpoint)
    draw = np.random.default_rng(0)
    pixels = {
        image_id: draw.integers(0, 256, (*size, 3), dtype=np.uint8)
        for ids, sizes in zip(IDS, SIZES, strict=True)
        for image_id, size in zip(ids, sizes, strict=True)
    }
    encoded = []
    for number, ids in enumerate(IDS):
        parts = [{"type": "image"} for _ in ids] + [{"type": "text", "text": "Any change?"}]
        prompt = Prompt([{"role": "user", "content": parts}], ())
        one = encoded_by(processor, f"s{number}", prompt, [pixels[image_id] for image_id in ids])
        encoded.append(replace(one, image_ids=ids))
    return encoded


def a_store(tower: Any, *, ram_bytes: int = 10**9, **changes: Any) -> FeatureStore:
    is_deep = hasattr(tower.config, "deepstack_visual_indexes")
    family = family_named("qwen3_vl" if is_deep else "qwen2_5_vl")
    assert family is not None
    settings = {"autocast": nullcontext, "ram_bytes": ram_bytes, **changes}
    return FeatureStore(family, tower, **settings)


def a_disk(folder: Path, **changes: Any) -> FeatureDisk:
    settings = {"folder": folder, "max_bytes": 10**9, "pixel_identity": "pixels", **changes}
    return FeatureDisk(**settings)


def without_pixels(prompt: EncodedPrompt) -> EncodedPrompt:
    return replace(prompt, pixel_values=None, left_out=frozenset(range(len(prompt.image_ids))))


def same(left: Sequence[Tensor | None], right: Sequence[Tensor | None]) -> bool:
    return len(left) == len(right) and all(
        (a is None and b is None)
        or (a is not None and b is not None and a.dtype == b.dtype and torch.equal(a, b))
        for a, b in zip(left, right, strict=True)
    )


def bytes_of_token(tower: Any) -> int:
    levels = 1 + len(getattr(tower.config, "deepstack_visual_indexes", ()))
    return levels * SHAPE.hidden_size * 4


def bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- encoding -------------------------------------------------------------------------------------


def test_features_and_gradients_equal_those_of_the_stock_model(
    model: Any, prompts: list[EncodedPrompt]
) -> None:
    def gradients(features: Tensor) -> Tensor:
        weights = torch.rand(features.shape, generator=torch.Generator().manual_seed(1))
        (weights * features).sum().backward()
        parts = [p.grad.flatten() for p in model.model.visual.parameters() if p.grad is not None]
        model.zero_grad()
        return torch.cat(parts)

    stock = stock_features(model, prompts[0])
    ours = encode_images(model, prompts[0])
    assert ours is not None
    torch.testing.assert_close(ours, stock, rtol=0, atol=1e-5)
    expected, found = gradients(stock), gradients(ours)
    assert expected.shape == found.shape
    assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@pytest.mark.slow
def test_features_of_an_image_do_not_depend_on_its_neighbours(
    model: Any, prompts: list[EncodedPrompt]
) -> None:
    first, third = encode_images(model, prompts[0]), encode_images(model, prompts[2])
    assert first is not None and third is not None
    assert torch.equal(first[-TOKENS_OF_B:], third[:TOKENS_OF_B])


@pytest.mark.slow
def test_a_prompt_without_images_has_no_features(model: Any, prompts: list[EncodedPrompt]) -> None:
    assert encode_images(model, prompts[3]) is None


# --- the same with and without a store ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("autocast", [nullcontext, BF16])
@pytest.mark.parametrize(
    ("ram_bytes", "is_on_disk", "expected"),
    [
        # 'b' is shown twice; in the second round each of the five uses finds its image again.
        (10**9, False, (FeatureCounts(memory=1, disk=0, computed=4), (5, 0, 0))),
        (0, True, (FeatureCounts(memory=1, disk=0, computed=4), (1, 4, 0))),
        (0, False, (FeatureCounts(memory=1, disk=0, computed=4), (1, 0, 4))),
    ],
)
def test_a_store_changes_no_bit(
    model: Any,
    prompts: list[EncodedPrompt],
    tmp_path: Path,
    autocast: Any,
    ram_bytes: int,
    is_on_disk: bool,
    expected: tuple[FeatureCounts, tuple[int, int, int]],
) -> None:
    model.requires_grad_(False)
    disk = a_disk(tmp_path) if is_on_disk else None
    store = a_store(model.model.visual, ram_bytes=ram_bytes, autocast=autocast, disk=disk)
    with autocast():
        computed = [encode_images(model, prompt) for prompt in prompts]
    assert computed[0] is not None
    assert computed[0].dtype == (torch.float32 if autocast is nullcontext else torch.bfloat16)
    assert same(store.of(prompts), computed)
    counts = store.take_counts()
    assert same(store.of(prompts[::-1]), computed[::-1])
    again = store.take_counts()
    assert (counts, (again.memory, again.disk, again.computed)) == expected


@pytest.mark.slow
def test_features_on_disk_serve_the_next_run(
    tower: Any, prompts: list[EncodedPrompt], tmp_path: Path
) -> None:
    computed = a_store(tower, ram_bytes=0, disk=a_disk(tmp_path)).of(prompts)
    resumed = a_store(tower, disk=a_disk(tmp_path))
    assert all(image_id in resumed for image_id in "abcd")
    assert same(resumed.of([without_pixels(prompt) for prompt in prompts]), computed)
    assert resumed.take_counts() == FeatureCounts(memory=1, disk=4, computed=0)


@pytest.mark.slow
def test_a_caller_cannot_change_what_is_held(tower: Any, prompts: list[EncodedPrompt]) -> None:
    store = a_store(tower)
    (first,) = store.of(prompts[1:2])
    assert first is not None
    kept = first.clone()
    first.zero_()
    assert same(store.of(prompts[1:2]), [kept])


@pytest.mark.slow
def test_images_without_an_id_are_never_kept(
    tower: Any, prompts: list[EncodedPrompt], tmp_path: Path
) -> None:
    store = a_store(tower, disk=a_disk(tmp_path))
    nameless = [replace(prompt, image_ids=()) for prompt in prompts]
    assert same(store.of(nameless), store.of(nameless))
    assert store.take_counts() == FeatureCounts(memory=0, disk=0, computed=10)
    assert bytes_under(tmp_path) == 0


# --- images whose pixels are left out -------------------------------------------------------------


@pytest.mark.slow
def test_a_study_of_which_some_images_are_known(tower: Any, prompts: list[EncodedPrompt]) -> None:
    store = a_store(tower)
    store.of(prompts[:1])
    patches = prompts[2].patches()[1]
    partly = replace(prompts[2], pixel_values=patches, left_out=frozenset({0}))
    assert same(store.of([partly]), a_store(tower).of(prompts[2:3]))


@pytest.mark.slow
def test_features_that_nobody_has_are_an_error(
    tiny: Tiny, tower: Any, prompts: list[EncodedPrompt]
) -> None:
    bare = without_pixels(prompts[1])
    with pytest.raises(TrainingError, match="study s1: image 'c' was encoded without pixels"):
        a_store(tower).of([bare])
    with pytest.raises(DataError, match="study s1: 1 of its images were encoded without pixels"):
        encode_images(tiny.load(), bare)


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tokens", "lacking", "held"),
    [
        (2 + TOKENS_OF_B, 1, "a"),
        (2 + TOKENS_OF_B, 0, "ab"),
        (3 + TOKENS_OF_B, 1, "ab"),
        (3 + TOKENS_OF_B, 0, "abc"),
    ],
)
def test_memory_is_bounded_to_the_byte(
    tower: Any, prompts: list[EncodedPrompt], tokens: int, lacking: int, held: str
) -> None:
    # 'a' has 2 tokens, 'b' 15 and 'c' 1. What comes first stays.
    ram_bytes = tokens * bytes_of_token(tower) - lacking
    store = a_store(tower, ram_bytes=ram_bytes)
    store.of(prompts[:1])
    store.of([*prompts[1:2], *prompts[:1]] if "b" in held else prompts[:1])
    assert "".join(image_id for image_id in "abc" if image_id in store) == held


@pytest.mark.slow
@pytest.mark.parametrize("spare_bytes", [-1, 0])
def test_the_disk_is_bounded_to_the_byte(
    tower: Any, prompts: list[EncodedPrompt], tmp_path: Path, spare_bytes: int
) -> None:
    a_store(tower, ram_bytes=0, disk=a_disk(tmp_path / "all")).of(prompts)
    whole = bytes_under(tmp_path / "all")
    disk = a_disk(tmp_path / "part", max_bytes=whole + spare_bytes)
    store = a_store(tower, ram_bytes=0, disk=disk)
    for _ in range(2):
        store.of(prompts)
    # 'd' comes last.
    assert ("c" in store, "d" in store) == (True, spare_bytes == 0)
    assert (bytes_under(disk.folder) == whole) is (spare_bytes == 0)
    assert bytes_under(disk.folder) <= disk.max_bytes


@pytest.mark.slow
def test_a_lower_bound_holds_for_what_lies_there(
    tower: Any, prompts: list[EncodedPrompt], tmp_path: Path
) -> None:
    a_store(tower, ram_bytes=0, disk=a_disk(tmp_path)).of(prompts)
    lower = a_disk(tmp_path, max_bytes=bytes_under(tmp_path) - 1)
    store = a_store(tower, ram_bytes=0, disk=lower)
    assert sum(image_id in store for image_id in "abcd") == 3
    store.of(prompts)
    assert bytes_under(tmp_path) <= lower.max_bytes


@pytest.mark.slow
def test_processes_share_the_folder_and_its_bound(
    tower: Any, prompts: list[EncodedPrompt], tmp_path: Path
) -> None:
    a_store(tower, ram_bytes=0, disk=a_disk(tmp_path / "all")).of(prompts[1:2])
    one_file = bytes_under(tmp_path / "all")
    disk = a_disk(tmp_path / "shared", max_bytes=2 * one_file, processes=2)
    left, right = (a_store(tower, ram_bytes=0, disk=disk) for _ in range(2))
    left.of([prompts[1], replace(prompts[1], image_ids=("e",))])  # room for one of the two
    right.of([replace(prompts[1], image_ids=("f",))])
    assert [image_id in right for image_id in "cef"] == [True, False, True]
    assert [image_id in left for image_id in "cef"] == [True, False, True]
    assert bytes_under(disk.folder) == disk.max_bytes


# --- what must not be answered from the disk ------------------------------------------------------


@pytest.mark.slow
def test_other_weights_are_not_answered(
    tower: Any,
    prompts: list[EncodedPrompt],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    a_store(tower, ram_bytes=0, disk=a_disk(tmp_path)).of(prompts)
    other = copy.deepcopy(tower)
    other.blocks[0].norm1.weight[3] += 1e-3
    with caplog.at_level(logging.INFO, "editgrpo"):
        store = a_store(other, disk=a_disk(tmp_path))
    assert "removed, as weights, images or versions are others now" in caplog.text
    assert not any(image_id in store for image_id in "abcd")
    assert bytes_under(tmp_path) == 0
    assert not same(store.of(prompts[:1]), a_store(tower).of(prompts[:1]))


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"pixel_identity": "other"}, {"autocast": BF16}])
def test_other_pixels_and_number_formats_are_not_answered(
    tower: Any, prompts: list[EncodedPrompt], tmp_path: Path, changes: dict[str, Any]
) -> None:
    a_store(tower, ram_bytes=0, disk=a_disk(tmp_path)).of(prompts)
    pixels = changes.get("pixel_identity", "pixels")
    autocast = changes.get("autocast", nullcontext)
    store = a_store(tower, autocast=autocast, disk=a_disk(tmp_path, pixel_identity=pixels))
    assert not any(image_id in store for image_id in "abcd")


def test_a_folder_removes_only_what_is_its_own(tower: Any, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/kept.txt").write_text("x")
    a_store(tower, disk=a_disk(tmp_path))
    a_store(tower, disk=a_disk(tmp_path, pixel_identity="other"))
    assert (tmp_path / "notes/kept.txt").is_file()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_tower_that_is_trained_is_refused(tiny: Tiny) -> None:
    with pytest.raises(TrainingError, match=r"set model\.freeze_vision_tower"):
        a_store(tiny.load().model.visual)


# --- faults of the disk ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_damaged_file_is_computed_again(
    tower: Any, prompts: list[EncodedPrompt], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    computed = a_store(tower, ram_bytes=0, disk=a_disk(tmp_path)).of(prompts)
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-7])
    store = a_store(tower, ram_bytes=0, disk=a_disk(tmp_path))
    assert same(store.of(prompts), computed)
    assert caplog.text.count("removed, as it cannot be read") == 4
    assert same(store.of(prompts), computed)
    assert store.take_counts() == FeatureCounts(memory=2, disk=4, computed=4)


@pytest.mark.slow
def test_a_full_disk_does_not_end_the_run(
    tower: Any,
    prompts: list[EncodedPrompt],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def is_full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = a_store(tower, ram_bytes=0, disk=a_disk(tmp_path))
    monkeypatch.setattr(os, "fsync", is_full)
    assert same(store.of(prompts), a_store(tower).of(prompts))
    assert caplog.text.count("no more features are kept (No space left on device)") == 1
    assert bytes_under(tmp_path) == 0


def test_what_a_killed_writer_left_is_swept(tower: Any, tmp_path: Path) -> None:
    a_store(tower, disk=a_disk(tmp_path))
    (folder,) = tmp_path.iterdir()
    (folder / ".x.0123.partial.safetensors").write_bytes(b"half")
    a_store(tower, disk=a_disk(tmp_path))
    assert bytes_under(tmp_path) == 0
