import gzip
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps
from pydicom import uid

from editgrpo.data.pixels.decode import decode_image
from editgrpo.errors import DataError
from tests.builders import noise
from tests.data.pixels.dicom_files import dicom, encode, ramp
from tests.data.pixels.png_files import chunk


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_8_bit_grey_is_kept_as_it_is(tmp_path: Path) -> None:
    values = np.array([[0, 7], [200, 255]], np.uint8)
    image = decode_image(save(Image.fromarray(values), tmp_path / "a.png"))
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), values)


def test_16_bit_grey_is_scaled_by_its_own_range_and_not_clipped(tmp_path: Path) -> None:
    # A 12-bit detector: 100 is the least and 4100 the greatest value, so 2100 lies half way:
    # 255 * (2100 - 100) / 4000 = 127.5, which rounds to the even 128.
    values = np.array([[100, 2100], [4100, 1100]], np.uint16)
    image = decode_image(save(Image.fromarray(values), tmp_path / "a.png"))
    assert np.asarray(image).tolist() == [[0, 128], [255, 64]]  # 255 / 4 = 63.75


def test_a_16_bit_image_of_one_value_is_black(tmp_path: Path) -> None:
    path = save(Image.fromarray(np.full((2, 2), 900, np.uint16)), tmp_path / "a.png")
    assert not np.asarray(decode_image(path)).any()


def test_palette_entries_become_their_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putdata([0, 1])
    decoded = decode_image(save(image, tmp_path / "a.png"))
    assert np.asarray(decoded).tolist() == [[[0, 0, 0], [200, 100, 50]]]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_over_black(tmp_path: Path, mode: str) -> None:
    opaque = Image.new("L", (1, 1), 80).convert(mode)
    hidden = opaque.copy()
    hidden.putalpha(0)
    image = Image.new(mode, (2, 1))
    image.paste(opaque, (0, 0))
    image.paste(hidden, (1, 0))
    decoded = decode_image(save(image, tmp_path / "a.png"))
    assert np.asarray(decoded).tolist() == [[[80, 80, 80], [0, 0, 0]]]


def test_a_transparent_palette_entry_is_black(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([250, 250, 250, 200, 100, 50])
    image.putdata([0, 1])
    decoded = decode_image(save(image, tmp_path / "a.png", transparency=0))
    assert np.asarray(decoded).tolist() == [[[0, 0, 0], [200, 100, 50]]]


@pytest.mark.parametrize(
    ("mode", "level", "transparent"), [("L", 250, 250), ("RGB", (250,) * 3, (250,) * 3)]
)
def test_a_transparent_level_is_black(
    tmp_path: Path, mode: str, level: int | tuple[int, ...], transparent: int | tuple[int, ...]
) -> None:
    image = Image.new(mode, (2, 1), level)
    image.putpixel((1, 0), 80 if mode == "L" else (80,) * 3)
    decoded = decode_image(save(image, tmp_path / "a.png", transparency=transparent))
    assert np.asarray(decoded.convert("L")).tolist() == [[0, 80]]


def test_one_bit_images_become_black_and_white(tmp_path: Path) -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert np.asarray(decode_image(save(image, tmp_path / "a.png"))).tolist() == [[0, 255]]


def test_cmyk_jpeg_is_decoded_to_rgb(tmp_path: Path) -> None:
    # No ink is white; full black ink is black. JPEG may be off by a few levels.
    image = Image.new("CMYK", (32, 16), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (16, 0, 32, 16))
    pixels = np.asarray(decode_image(save(image, tmp_path / "a.jpg", quality=95)))
    assert pixels.shape == (16, 32, 3)
    assert pixels[:, :8].min() >= 250
    assert pixels[:, 24:].max() <= 5


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation_is_applied_as_pillow_does(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = save(noise(16, 32), tmp_path / f"a.{suffix}", exif=exif)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    assert np.array_equal(np.asarray(decode_image(path)), np.asarray(upright))
    assert upright.size == ((16, 32) if 5 <= orientation <= 8 else (32, 16))


def test_tags_are_read_and_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow fails to write some that it reads, in one damaged file of many."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save(noise(16, 32), tmp_path / "a.png", exif=exif)
    monkeypatch.setattr(Image.Exif, "tobytes", None)
    assert decode_image(path).size == (16, 32)


def refused(path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        decode_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path = save(Image.fromarray(noise), tmp_path / f"a.{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "truncated or damaged")


@pytest.mark.parametrize("content", [b"DIC" * 50, b"GIF89a" + bytes(40), bytes(200)])
def test_files_that_are_no_image_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    refused(path, "is neither JPEG, PNG nor DICOM")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent.png", "image file is missing")
    refused(tmp_path, "is truncated or damaged")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_decompression_bombs_are_refused_unread(tmp_path: Path, side: int) -> None:
    # A header that claims side x side pixels, over a few bytes of data.
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", b"\x00")
        + chunk(b"IEND", b"")
    )
    refused(path, "more than 80,000,000")


def test_files_inside_gzip_are_read(tmp_path: Path) -> None:
    plain = save(Image.fromarray(np.array([[0, 7]], np.uint8)), tmp_path / "a.png")
    zipped = tmp_path / "a.png.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    assert np.asarray(decode_image(zipped)).tolist() == [[0, 7]]
    zipped.write_bytes(zipped.read_bytes()[:-12])
    refused(zipped, "truncated or damaged")


def test_what_a_file_holds_decides_and_not_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(dicom(np.array([[0, 100], [200, 400]], np.uint16)))
    assert np.asarray(decode_image(path)).tolist() == [[0, 64], [128, 255]]  # 63.75, 127.5


@pytest.mark.parametrize("is_zipped", [False, True])
def test_files_that_are_too_large_are_refused_before_they_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_zipped: bool
) -> None:
    monkeypatch.setattr("editgrpo.data.pixels.decode.MAX_SOURCE_BYTES", 1000)
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(bytes(100_000)) if is_zipped else bytes(1001))
    refused(path, "holds more than 1,000 bytes")


def test_a_hot_pixel_darkens_the_rest_of_a_16_bit_image(tmp_path: Path) -> None:
    # A detector of 12 bits with one pixel at the top of 16: nothing is clipped, as documented.
    values = np.full((100, 100), 4095, np.uint16)
    values[0, 0], values[5, 5] = 0, 65_535
    decoded = np.asarray(decode_image(save(Image.fromarray(values), tmp_path / "a.png")))
    assert decoded[5, 5] == 255
    assert decoded[50, 50] == 16  # 4095 / 65535 * 255 = 15.93


@pytest.mark.parametrize(("least", "greatest"), [(0, 65_535), (137, 4095), (60_000, 60_001)])
def test_a_16_bit_image_is_mapped_as_its_pixels_would_be_one_by_one(
    tmp_path: Path, least: int, greatest: int
) -> None:
    values = np.arange(65_536).clip(least, greatest).astype(np.uint16).reshape(256, 256)
    decoded = np.asarray(decode_image(save(Image.fromarray(values), tmp_path / "a.png")))
    exact = (values.astype(np.float64) - least) * 255 / (greatest - least)
    assert np.array_equal(decoded, np.rint(exact))


def test_every_pixel_of_a_jpeg_is_decoded(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 200), np.uint8)
    path = save(Image.fromarray(noise), tmp_path / "a.jpg", quality=90)
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(decode_image(path)), np.asarray(image))


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_altered_files_are_decoded_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (16, 16), np.uint16)
    stream = BytesIO()
    kind = data.draw(st.sampled_from(["JPEG", "PNG"]))
    Image.fromarray(noise if kind == "PNG" else (noise >> 4).astype(np.uint8)).save(stream, kind)
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "altered"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert decode_image(path).mode in ("L", "RGB")
    except DataError as error:
        assert str(error).startswith(f"{path}: ")


JPEG_KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "baseline": ("L", {"quality": 90}),
    "progressive": ("L", {"quality": 90, "progressive": True}),
    "colour": ("RGB", {"quality": 90}),
    "CMYK": ("CMYK", {"quality": 90}),
    "restarts": ("L", {"quality": 90, "restart_marker_rows": 1}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", JPEG_KINDS)
@pytest.mark.parametrize("padding", [1, 17, 4096, 200_000])
@pytest.mark.parametrize("is_zipped", [False, True])
def test_zero_bytes_behind_the_end_of_a_jpeg_are_no_damage_but_in_place_of_its_end_they_are(
    tmp_path: Path, kind: str, padding: int, is_zipped: bool
) -> None:
    mode, options = JPEG_KINDS[kind]
    whole = save(noise(128, 128).convert(mode), tmp_path / "a.jpg", **options).read_bytes()
    expected = np.asarray(decode_image(tmp_path / "a.jpg"))
    pack = gzip.compress if is_zipped else bytes
    path = tmp_path / "b.jpg"
    path.write_bytes(pack(whole + bytes(padding)))
    assert np.array_equal(np.asarray(decode_image(path)), expected)
    for share in (0.3, 0.9, 0.99):
        path.write_bytes(pack(whole[: int(len(whole) * share)] + bytes(padding)))
        refused(path, "truncated or damaged")


def test_a_jpeg_of_12_bits_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(ramp(12), uid.JPEGExtended12Bit))
    refused(path, "is a JPEG of 12 bits a value; convert it to a PNG of 16 bits$")


def test_tiff_is_refused_by_name(tmp_path: Path) -> None:
    path = save(Image.fromarray(ramp(16)), tmp_path / "a.png", format="TIFF")
    refused(path, "is neither JPEG, PNG nor DICOM; convert it to PNG$")
