import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from editgrpo.data.pixels.decode import decode_image
from tests.data.pixels.png_files import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, png

OPAQUE = 0xFFFF
RAMP = np.tile(np.linspace(0, 4095, 512).round().astype(np.uint16), (5, 1))
# Linear from the range of the image, 0 to 4095, to 0 to 255.
SHOWN = np.rint(RAMP * 255.0 / 4095)


def grey_of(path: Path, content: bytes) -> NDArray[np.uint8]:
    """Return the grey levels of a file whose channels are equal."""
    path.write_bytes(content)
    image = decode_image(path)
    assert image.mode in ("L", "RGB")
    channels = np.asarray(image.convert("RGB"))
    assert np.ptp(channels, axis=2).max() == 0
    return channels[..., 0]


def channels(grey: NDArray[Any], colour: int, alpha: int | NDArray[Any] = OPAQUE) -> NDArray[Any]:
    parts = [grey] * (3 if colour in (RGB, RGB_ALPHA) else 1)
    if colour in (GREY_ALPHA, RGB_ALPHA):
        parts.append(np.broadcast_to(alpha, grey.shape))
    return np.stack(parts, axis=-1)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("colour", [GREY, RGB, GREY_ALPHA, RGB_ALPHA])
def test_a_12_bit_ramp_in_16_bits_spans_all_grey_levels_in_every_colour(
    tmp_path: Path, colour: int, interlaced: bool
) -> None:
    content = png(channels(RAMP, colour), colour, 16, interlaced=interlaced)
    assert np.array_equal(grey_of(tmp_path / "a", content), SHOWN)
    assert np.array_equal(grey_of(tmp_path / "a", content + bytes(5000)), SHOWN)


@pytest.mark.parametrize("colour", [RGB, RGB_ALPHA])
def test_channels_share_one_range(tmp_path: Path, colour: int) -> None:
    values = channels(np.zeros((1, 3), np.uint16), colour)
    values[0, :, :3] = [[0, 1000, 4000], [4000, 0, 0], [2000, 500, 100]]
    (tmp_path / "a").write_bytes(png(values, colour, 16))
    # 255 / 4000 of each: 63.75, 127.5, 31.875, 6.375; halves go to the even number.
    expected = [[[0, 64, 255], [255, 0, 0], [128, 32, 6]]]
    assert np.asarray(decode_image(tmp_path / "a")).tolist() == expected


@pytest.mark.parametrize("colour", [GREY_ALPHA, RGB_ALPHA])
@pytest.mark.parametrize("alpha", [1, 4095, 32_768, OPAQUE])
def test_an_alpha_that_is_the_same_everywhere_changes_nothing(
    tmp_path: Path, colour: int, alpha: int
) -> None:
    content = png(channels(RAMP, colour, alpha), colour, 16)
    assert np.array_equal(grey_of(tmp_path / "a", content), SHOWN)


@pytest.mark.parametrize("colour", [GREY_ALPHA, RGB_ALPHA])
def test_alpha_is_laid_over_black_at_full_depth(tmp_path: Path, colour: int) -> None:
    grey = np.array([[4000, 4000, 4000, 9, 2000]], np.uint16)
    alpha = np.array([[OPAQUE, 0, 32_768, OPAQUE, OPAQUE]], np.uint16)
    found = grey_of(tmp_path / "a", png(channels(grey, colour, alpha), colour, 16))
    # Over black: 4000, 0, 2000.03, 9, 2000, of which 4000 is white: 127.5 is the even 128.
    assert found.tolist() == [[255, 0, 128, 1, 128]]  # 9 * 255 / 4000 = 0.57


@pytest.mark.parametrize("colour", [GREY_ALPHA, RGB_ALPHA])
def test_an_image_without_an_opaque_pixel_is_black(tmp_path: Path, colour: int) -> None:
    assert not grey_of(tmp_path / "a", png(channels(RAMP, colour, 0), colour, 16)).any()


@pytest.mark.parametrize("colour", [GREY, RGB])
def test_a_transparent_value_of_16_bits_is_compared_in_full(tmp_path: Path, colour: int) -> None:
    grey = np.array([[0, 4000, 4001, 2000]], np.uint16)
    transparent = struct.pack(">H", 4001) * (3 if colour == RGB else 1)
    content = png(channels(grey, colour), colour, 16, chunks=[(b"tRNS", transparent)])
    # 4001 becomes black, and not 4000, which has the same high byte.
    assert grey_of(tmp_path / "a", content).tolist() == [[0, 255, 0, 128]]  # 127.5


@pytest.mark.parametrize("colour", [GREY, RGB, GREY_ALPHA, RGB_ALPHA])
def test_gamma_and_significant_bits_change_no_value(tmp_path: Path, colour: int) -> None:
    samples = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGB_ALPHA: 4}[colour]
    chunks = [(b"gAMA", struct.pack(">I", 45_455)), (b"sBIT", bytes([12] * samples))]
    content = png(channels(RAMP, colour), colour, 16, chunks=chunks)
    assert np.array_equal(grey_of(tmp_path / "a", content), SHOWN)


@pytest.mark.parametrize(("depth", "step"), [(1, 255), (2, 85), (4, 17), (8, 1)])
def test_grey_of_few_bits_spans_all_levels_with_and_without_a_transparent_one(
    tmp_path: Path, depth: int, step: int
) -> None:
    grey = np.arange(2**depth, dtype=np.uint8)[None]
    expected = [[value * step for value in range(2**depth)]]
    assert grey_of(tmp_path / "a", png(grey, GREY, depth)).tolist() == expected
    transparent = [(b"tRNS", struct.pack(">H", 1))]
    expected[0][1] = 0
    assert grey_of(tmp_path / "a", png(grey, GREY, depth, chunks=transparent)).tolist() == expected


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_entry_of_a_palette_is_black(tmp_path: Path, depth: int) -> None:
    chunks = [(b"PLTE", bytes([90] * 3 + [200] * 3)), (b"tRNS", bytes([255, 0]))]
    content = png(np.array([[0, 1]], np.uint8), PALETTE, depth, chunks=chunks)
    assert grey_of(tmp_path / "a", content).tolist() == [[90, 0]]


def test_orientation_is_applied_to_deep_colour(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the first row is the right side: turned clockwise
    turned = (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    values = channels(np.array([[0, 4000]], np.uint16), RGB)
    for where in ("chunks", "behind"):
        content = png(values, RGB, 16, **{where: [turned]})
        assert grey_of(tmp_path / "a", content).tolist() == [[0], [255]]
