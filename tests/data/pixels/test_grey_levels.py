import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.data.pixels.grey_levels import (
    GreyScale,
    LookupTable,
    Window,
    WindowShape,
    all_values,
    map_pixels,
    values_present,
)
from editgrpo.errors import DataError


def levels(scale: GreyScale, *values: int) -> list[int]:
    stored = np.array(values)
    return scale.levels(stored, np.ones(len(stored), np.bool_)).tolist()


# The windows of the examples in PS3.3 C.11.2.1.2.1: where black ends and white begins.
@pytest.mark.parametrize(
    ("centre", "width", "expected"),
    [
        # y = ((x - 2047.5) / 4095 + 0.5) * 255: 1024 gives 63.77, 2047 127.47, 2048 127.53
        (2048, 4096, {-1: 0, 0: 0, 1024: 64, 2047: 127, 2048: 128, 4095: 255, 4096: 255}),
        # black up to 2047.5 - 1023.5; (0.5 / 2047 + 0.5) * 255 = 127.56
        (2048, 2048, {1024: 0, 2048: 128, 3071: 255}),
        (0, 100, {-50: 0, -49: 3, 49: 255, 48: 252}),  # 255 / 99 = 2.58 a step
        (0, 1, {-1: 0, 0: 255}),  # x <= -0.5 is black
        (0.5, 1, {0: 0, 1: 255}),  # x <= 0 is black
        (100, 1, {99: 0, 100: 255}),
        (100, 2, {99: 0, 100: 255}),  # x <= 99 is black
    ],
)
def test_a_linear_window_is_that_of_the_standard(
    centre: float, width: float, expected: dict[int, int]
) -> None:
    scale = GreyScale(voi=Window(centre=centre, width=width))
    assert levels(scale, *expected) == list(expected.values())


def test_an_exact_linear_window_covers_half_its_width_on_both_sides() -> None:
    # y = ((x - 2048) / 4096 + 0.5) * 255: 1024 gives 63.75, 2048 127.5, which rounds to even
    scale = GreyScale(voi=Window(centre=2048, width=4096, shape=WindowShape.LINEAR_EXACT))
    assert levels(scale, -1, 0, 1024, 2048, 4096, 5000) == [0, 0, 64, 128, 255, 255]
    narrow = GreyScale(voi=Window(centre=10, width=0.5, shape=WindowShape.LINEAR_EXACT))
    assert levels(narrow, 9, 10, 11) == [0, 128, 255]


def test_a_sigmoid_window_is_the_logistic_curve() -> None:
    # 255 / (1 + exp(-4 (x - 2048) / 4096)): 255 / (1 + e^2) = 30.4, 255 / (1 + e) = 68.6
    scale = GreyScale(voi=Window(centre=2048, width=4096, shape=WindowShape.SIGMOID))
    assert levels(scale, 0, 1024, 2048, 3072, 4096, 60_000) == [30, 69, 128, 186, 225, 255]
    steep = GreyScale(voi=Window(centre=0, width=1e-300, shape=WindowShape.SIGMOID))
    assert levels(steep, -5, 0, 5) == [0, 128, 255]


def test_slope_and_intercept_come_before_the_window() -> None:
    # 2 x - 100: -100, 100, 300, 500; the window shows 0 to 400: 100 / 400 * 255 = 63.75
    window = Window(centre=200, width=400, shape=WindowShape.LINEAR_EXACT)
    scale = GreyScale(slope=2, intercept=-100, voi=window)
    assert levels(scale, 0, 100, 200, 300) == [0, 64, 191, 255]


def test_a_modality_table_takes_the_place_of_slope_and_intercept() -> None:
    # 5 and below become 300, 6 becomes 0, 7 and above 100: the order of brightness changes.
    table = LookupTable(first=5, outputs=np.array([300.0, 0, 100]), bits=16)
    scale = GreyScale(slope=9, intercept=9, modality=table)
    assert levels(scale, 0, 5, 6, 7, 8) == [255, 255, 0, 85, 85]


def test_a_voi_table_is_white_at_its_bits_and_holds_its_ends() -> None:
    # 1000 / 4095 * 255 = 62.3
    table = LookupTable(first=100, outputs=np.array([0.0, 1000, 4095]), bits=12)
    assert levels(GreyScale(voi=table), 0, 99, 100, 101, 102, 900) == [0, 0, 0, 62, 255, 255]


def test_without_a_voi_the_whole_range_present_is_shown() -> None:
    # (x + 50) / 200 * 255
    assert levels(GreyScale(), -50, 0, 50, 150) == [0, 64, 128, 255]  # 63.75, 127.5
    assert levels(GreyScale(inverted=True), -50, 0, 50, 150) == [255, 191, 128, 0]
    assert levels(GreyScale(slope=-1), -50, 0, 50, 150) == [255, 191, 128, 0]


def test_one_value_alone_is_black() -> None:
    assert levels(GreyScale(), 7, 7) == [0, 0]
    assert levels(GreyScale(inverted=True), 7, 7) == [0, 0]


def test_padding_does_not_count_for_the_range() -> None:
    assert levels(GreyScale(padding=(4095, 4095)), 0, 100, 4095) == [0, 255, 255]
    assert levels(GreyScale(padding=(0, 9), inverted=True), 0, 9, 10, 20) == [255, 255, 255, 0]
    assert levels(GreyScale(padding=(5, 5)), 5, 5) == [0, 0]
    window = Window(centre=50, width=100, shape=WindowShape.LINEAR_EXACT)
    assert levels(GreyScale(voi=window, padding=(20, 20)), 20) == [51]  # a window shows it


@pytest.mark.parametrize(
    ("width", "shape", "expected"),
    [
        (1, WindowShape.LINEAR, True),
        (0.9, WindowShape.LINEAR, False),
        (0, WindowShape.LINEAR_EXACT, False),
        (0.1, WindowShape.LINEAR_EXACT, True),
        (0.1, WindowShape.SIGMOID, True),
        (-5, WindowShape.SIGMOID, False),
        (float("nan"), WindowShape.LINEAR, False),
        (float("inf"), WindowShape.LINEAR, False),
    ],
)
def test_only_widths_that_the_standard_allows_are_valid(
    width: float, shape: WindowShape, expected: bool
) -> None:
    assert Window(centre=0, width=width, shape=shape).is_valid() is expected
    assert not Window(centre=float("nan"), width=width, shape=shape).is_valid()


def test_numbers_that_overflow_are_an_error() -> None:
    with pytest.raises(DataError, match="out of range"):
        levels(GreyScale(slope=1e308, intercept=1e308), 0, 100)


@pytest.mark.slow
@given(
    low=st.integers(-2000, 2000),
    span=st.integers(1, 60_000),
    shape=st.sampled_from(WindowShape),
    inverted=st.booleans(),
)
def test_a_brighter_value_is_never_darker(
    low: int, span: int, shape: WindowShape, inverted: bool
) -> None:
    scale = GreyScale(voi=Window(centre=low + span / 2, width=span, shape=shape), inverted=inverted)
    steps = np.diff(np.array(levels(scale, *range(low - 50, low + span + 50, 7))))
    assert (steps <= 0).all() if inverted else (steps >= 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_every_value_of_a_type_finds_its_own_level(dtype: type) -> None:
    # Each value once, in an order of its own; the level is worked out pixel by pixel besides.
    count = 256 ** np.dtype(dtype).itemsize
    low = int(np.iinfo(dtype).min)
    pixels = np.random.default_rng(0).permutation(np.arange(low, low + count)).astype(dtype)
    image = pixels.reshape(-1, 16)
    found = GreyScale().levels(all_values(image.dtype), values_present(image))
    expected = np.rint((image.astype(np.float64) - low) * 255 / (count - 1))
    assert np.array_equal(map_pixels(image, found), expected)
    assert values_present(image).all()


def test_values_that_no_pixel_has_are_not_present() -> None:
    present = values_present(np.array([[-1, 3]], np.int16))
    assert all_values(np.dtype(np.int16))[present].tolist() == [3, -1]
