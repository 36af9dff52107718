import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from editgrpo.data.decode import decode_image
from editgrpo.data.images import ImageCache, budget_size, prepare_images
from editgrpo.data.store import StudySet, write_studies
from editgrpo.data.study import Split, Study, StudyImage, View
from editgrpo.errors import ConfigError, DataError

BUDGET = {"min_pixels": 56 * 56, "max_pixels": 112 * 112, "factor": 28}


def noise(height: int, width: int, *, channels: int | None = None, seed: int = 0) -> Image.Image:
    shape = (height, width) if channels is None else (height, width, channels)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def study_set(folder: Path, images: dict[str, Image.Image]) -> StudySet:
    """Write one study for each image, whose study_id is the file's name."""
    (folder / "images").mkdir(parents=True)
    for name, image in images.items():
        image.save(folder / "images" / name)
    write_studies(
        folder,
        (
            Study(
                study_id=name,
                patient_id=name,
                split=Split.TRAIN,
                images=(StudyImage(path=f"images/{name}", view=View.PA),),
            )
            for name in images
        ),
    )
    return StudySet.load(folder)


@settings(max_examples=300, deadline=None)
@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    factor=st.sampled_from([8, 16, 28, 32]),
    budget=st.tuples(st.integers(1, 500_000), st.integers(1, 500_000)).map(sorted),
)
def test_sizes_equal_those_of_the_stock_processor(
    height: int, width: int, factor: int, budget: list[int]
) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    limits = {"factor": factor, "min_pixels": budget[0], "max_pixels": budget[1]}
    try:
        expected = smart_resize(height, width, **limits)
    except ValueError:
        with pytest.raises(DataError, match="too long and thin"):
            budget_size(height, width, **limits)
        return
    assert budget_size(height, width, **limits) == expected


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize(("height", "width"), [(40, 40), (84, 100), (300, 170)])
@pytest.mark.parametrize(("patch", "merge"), [(14, 2), (8, 1)])
def test_the_stock_processor_gives_the_same_values_for_original_and_cached_image(
    tmp_path: Path, channels: int | None, height: int, width: int, patch: int, merge: int
) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    studies = study_set(tmp_path, {"a.png": noise(height, width, channels=channels)})
    budget = {"min_pixels": 56 * 56, "max_pixels": 112 * 112}
    processor = Qwen2VLImageProcessorPil(patch_size=patch, merge_size=merge, **budget)
    cache = ImageCache(studies, factor=patch * merge, **budget)
    original = decode_image(tmp_path / "images" / "a.png").convert("RGB")
    stock = processor(images=[original], return_tensors="np")
    for _ in ("made", "read from disk"):
        pixels = cache.load(studies[0].images[0])
        cached = processor(images=[pixels], do_resize=False, return_tensors="np")
        assert np.array_equal(cached["image_grid_thw"], stock["image_grid_thw"])
        assert np.array_equal(cached["pixel_values"], stock["pixel_values"])


def test_a_loaded_image_has_three_channels_and_cannot_be_changed(tmp_path: Path) -> None:
    studies = study_set(tmp_path, {"a.png": noise(90, 60)})
    pixels = ImageCache(studies, **BUDGET).load(studies[0].images[0])
    # 90 / 28 = 3.2 and 60 / 28 = 2.1 round to 3 and 2: 84 x 56 lies inside the budget.
    assert (pixels.shape, pixels.dtype) == ((84, 56, 3), np.uint8)
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_colour_in_any_one_channel_is_kept(tmp_path: Path, channel: int) -> None:
    pixels = np.full((84, 56, 3), 90, np.uint8)
    pixels[..., channel] = 200
    studies = study_set(tmp_path, {"a.png": Image.fromarray(pixels)})
    for _ in ("made", "read from disk"):
        assert np.array_equal(ImageCache(studies, **BUDGET).load(studies[0].images[0]), pixels)


def test_an_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies = study_set(tmp_path, {"a.png": noise(90, 60)})
    cache = ImageCache(studies, tmp_path / "cache", **BUDGET)
    assert cache.warm(studies[0].images[0])
    first = cache.load(studies[0].images[0])
    monkeypatch.setattr("editgrpo.data.images.Image.Image.resize", None)
    assert not cache.warm(studies[0].images[0])
    assert np.array_equal(
        ImageCache(studies, tmp_path / "cache", **BUDGET).load(studies[0].images[0]), first
    )
    assert len(list((tmp_path / "cache").rglob("*.png"))) == 1


def test_a_changed_source_gives_another_entry(tmp_path: Path) -> None:
    studies = study_set(tmp_path, {"a.png": noise(90, 60)})
    image = studies[0].images[0]
    cache = ImageCache(studies, **BUDGET)
    before = cache.load(image)
    source = tmp_path / "images" / "a.png"
    stamp = source.stat().st_mtime_ns
    noise(90, 60, seed=1).save(source)
    os.utime(source, ns=(stamp + 1, stamp + 1))
    after = cache.load(image)
    assert not np.array_equal(before, after)


@pytest.mark.parametrize(
    # 90 x 60 pixels at a factor of 28 become 84 x 56 = 4,704.
    ("other", "shape"),
    [
        ({"min_pixels": 5_000}, (112, 84, 3)),  # 90 * sqrt(5000 / 5400) / 28 = 3.09, 2.06: up
        ({"max_pixels": 4_000}, (56, 28, 3)),  # 90 / sqrt(5400 / 4000) / 28 = 2.77, 1.84: down
        ({"factor": 30}, (90, 60, 3)),
    ],
)
def test_each_part_of_the_budget_has_its_own_entry(
    tmp_path: Path, other: dict[str, int], shape: tuple[int, ...]
) -> None:
    studies = study_set(tmp_path, {"a.png": noise(90, 60)})
    budget = BUDGET | {"min_pixels": 1_000}
    for limits, expected in ((budget, (84, 56, 3)), (budget | other, shape)):
        assert ImageCache(studies, **limits).load(studies[0].images[0]).shape == expected


def test_a_damaged_cache_file_is_made_again(tmp_path: Path) -> None:
    studies = study_set(tmp_path, {"a.png": noise(90, 60)})
    cache = ImageCache(studies, **BUDGET)
    first = cache.load(studies[0].images[0])
    (cached,) = (tmp_path / "image-cache").rglob("*.png")
    cached.write_bytes(cached.read_bytes()[:50])
    assert np.array_equal(cache.load(studies[0].images[0]), first)
    assert len(cached.read_bytes()) > 50


def test_images_kept_in_memory_are_the_last_ones_used(tmp_path: Path) -> None:
    studies = study_set(tmp_path, {f"{k}.png": noise(90, 60, seed=k) for k in range(3)})
    cache = ImageCache(studies, memory_items=2, **BUDGET)
    images = [study.images[0] for study in studies]
    first, second = cache.load(images[0]), cache.load(images[1])
    assert cache.load(images[0]) is first
    cache.load(images[2])  # the second falls out, as the first was used after it
    assert cache.load(images[0]) is first
    assert cache.load(images[1]) is not second


def test_every_image_is_prepared_once_and_only_once(tmp_path: Path) -> None:
    studies = study_set(tmp_path, {f"{k}.png": noise(90, 60, seed=k) for k in range(5)})
    cache = ImageCache(studies, **BUDGET)
    seen: list[tuple[int, int]] = []
    made = prepare_images(
        studies, cache, progress=lambda done, total: seen.append((done, total)), workers=2
    )
    assert made == 5
    assert seen == [(k, 5) for k in range(1, 6)]
    assert prepare_images(studies, cache) == 0
    assert not list(tmp_path.rglob("*partial*"))


def test_only_images_that_are_shown_are_prepared(tmp_path: Path) -> None:
    study_set(tmp_path, {"a.png": noise(90, 60), "b.png": noise(90, 60, seed=1)})
    both = Study(
        study_id="s",
        patient_id="p",
        split=Split.TRAIN,
        images=(
            StudyImage(path="images/b.png", view=View.LATERAL),
            StudyImage(path="images/a.png", view=View.PA),
        ),
    )
    write_studies(tmp_path, [both])
    studies = StudySet.load(tmp_path)
    cache = ImageCache(studies, **BUDGET)
    assert prepare_images(studies, cache, max_images=1) == 1
    assert not cache.warm(both.images[1])  # the frontal image is there
    assert cache.warm(both.images[0])


def test_unusable_images_are_counted_and_the_first_is_named_with_its_study(tmp_path: Path) -> None:
    studies = study_set(tmp_path, {f"{k}.png": noise(90, 60) for k in range(3)})
    (tmp_path / "images" / "1.png").write_bytes(b"")
    (tmp_path / "images" / "2.png").unlink()
    with pytest.raises(DataError, match=r"2 of 3 images are unusable; study '1.png': .*1\.png"):
        prepare_images(studies, ImageCache(studies, **BUDGET))


def test_a_thin_image_is_refused_by_name(tmp_path: Path) -> None:
    studies = study_set(tmp_path, {"a.png": noise(1, 201)})
    with pytest.raises(DataError, match=r"a\.png: .* too long and thin"):
        ImageCache(studies, **BUDGET).load(studies[0].images[0])


@pytest.mark.parametrize("wrong", [{"factor": 0}, {"min_pixels": 0}, {"max_pixels": 10}])
def test_an_impossible_budget_is_an_error(tmp_path: Path, wrong: dict[str, int]) -> None:
    studies = study_set(tmp_path, {"a.png": noise(9, 9)})
    with pytest.raises(ConfigError, match="image budget"):
        ImageCache(studies, **(BUDGET | wrong))


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    studies = study_set(tmp_path, {"a.png": noise(9, 9)})
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="taken: the image cache cannot be written"):
        ImageCache(studies, tmp_path / "taken", **BUDGET).load(studies[0].images[0])
