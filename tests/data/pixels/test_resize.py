from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from editgrpo.data.pixels.resize import PixelBudget, resize_image
from editgrpo.data.prepared.image_jobs import encode_image
from editgrpo.errors import ConfigError, DataError
from tests.builders import noise

SMALL = {"min_pixels": 56 * 56, "max_pixels": 112 * 112}


def stored(image: Image.Image, budget: PixelBudget) -> Image.Image:
    """Send an image through the bytes of the store."""
    return Image.open(BytesIO(encode_image("i", image, budget).png))


@pytest.mark.slow
@settings(max_examples=300)
@given(
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    factor=st.sampled_from([1, 8, 16, 28, 32]),
    budget=st.tuples(st.integers(1, 500_000), st.integers(1, 500_000)).map(sorted),
)
def test_sizes_equal_those_of_the_stock_processor(
    height: int, width: int, factor: int, budget: list[int]
) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    limits = {"min_pixels": budget[0], "max_pixels": budget[1]}
    ours = PixelBudget(multiple_of=factor, **limits)
    try:
        expected = smart_resize(height, width, factor=factor, **limits)
    except ValueError:
        with pytest.raises(DataError, match="too long and thin"):
            ours.size(height, width)
        return
    assert ours.size(height, width) == expected


@pytest.mark.parametrize(
    ("source", "size"),
    [
        # sqrt(3056 * 2544 / 401408) = 4.401: 3056 and 2544 / 4.401 / 28 = 24.8 and 20.6.
        ((3056, 2544), (24 * 28, 20 * 28)),
        # sqrt(262144 / 250000) = 1.024: 500 * 1.024 / 28 = 18.3, upwards.
        ((500, 500), (19 * 28, 19 * 28)),
        # 560 / 28 = 20 and 600 / 28 = 21.4; 560 * 588 = 329,280 lies inside.
        ((560, 600), (20 * 28, 21 * 28)),
        # 200 : 1 is the limit itself. sqrt(262144 / 200) = 36.2: 7240.8 / 28 = 258.6, 1.29.
        ((200, 1), (259 * 28, 2 * 28)),
    ],
)
def test_sizes_at_the_budget_of_the_paper(source: tuple[int, int], size: tuple[int, int]) -> None:
    assert PixelBudget().size(*source) == size
    assert PixelBudget().size(*reversed(source)) == tuple(reversed(size))


@pytest.mark.parametrize("size", [(1, 201), (201, 1), (2, 401)])
def test_a_thin_image_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(
        DataError, match=f"is too long and thin; crop its {size[1]} x {size[0]} pixels"
    ):
        resize_image(noise(*size), PixelBudget())


@pytest.mark.parametrize(
    "wrong", [{"multiple_of": 0}, {"min_pixels": 0}, {"max_pixels": 10}, {"max_pixels": -1}]
)
def test_an_impossible_budget_is_an_error(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"pixel budget .*; |pixel budget .* at least 1"):
        PixelBudget(**(SMALL | wrong))


@pytest.mark.slow
@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("size", [(40, 40), (84, 100), (300, 170), (56, 56), (29, 700)])
@pytest.mark.parametrize(("patch", "merge"), [(14, 2), (16, 2), (8, 1)])
def test_the_stock_processor_gives_the_same_values_for_original_and_stored_image(
    channels: int | None, size: tuple[int, int], patch: int, merge: int
) -> None:
    assert_seen_alike(noise(*size, channels=channels), patch, merge, SMALL)


@pytest.mark.slow
@settings(max_examples=60)
@given(height=st.integers(1, 400), width=st.integers(1, 400), channels=st.sampled_from([None, 3]))
def test_the_stock_processor_gives_the_same_values_at_every_size(
    height: int, width: int, channels: int | None
) -> None:
    assume(max(height, width) <= 200 * min(height, width))
    assert_seen_alike(noise(height, width, channels=channels), 14, 2, SMALL)


def assert_seen_alike(image: Image.Image, patch: int, merge: int, limits: dict[str, int]) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor: Any = Qwen2VLImageProcessorPil(patch_size=patch, merge_size=merge, **limits)
    stock = processor(images=[image.convert("RGB")], return_tensors="np")
    small = stored(image, PixelBudget(multiple_of=patch * merge, **limits)).convert("RGB")
    ours = processor(images=[np.array(small)], do_resize=False, return_tensors="np")
    assert np.array_equal(ours["image_grid_thw"], stock["image_grid_thw"])
    assert np.array_equal(ours["pixel_values"], stock["pixel_values"])


def test_an_image_whose_channels_are_equal_becomes_grey() -> None:
    grey = noise(90, 60)
    budget = PixelBudget(**SMALL)
    assert stored(grey.convert("RGB"), budget).mode == "L"
    assert np.array_equal(
        np.asarray(resize_image(grey.convert("RGB"), budget)),
        np.asarray(resize_image(grey, budget)),
    )


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_colour_in_any_one_channel_is_kept(channel: int) -> None:
    pixels = np.full((84, 56, 3), 90, np.uint8)
    pixels[..., channel] = 91
    image = stored(Image.fromarray(pixels), PixelBudget(min_pixels=1_000, max_pixels=112 * 112))
    assert np.array_equal(np.asarray(image), pixels)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), channels=st.sampled_from([None, 3]))
def test_the_bytes_of_the_store_lose_nothing(seed: int, channels: int | None) -> None:
    budget = PixelBudget(min_pixels=1, max_pixels=10_000, multiple_of=1)
    image = noise(17, 23, channels=channels, seed=seed)
    entry = encode_image("i", image, budget)
    assert (entry.image_id, entry.height, entry.width, entry.problem) == ("i", 17, 23, "")
    assert np.array_equal(np.asarray(Image.open(BytesIO(entry.png))), np.asarray(image))
