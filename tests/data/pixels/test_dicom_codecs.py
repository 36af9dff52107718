from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file

from editgrpo.data.pixels.decode import decode_image
from editgrpo.data.pixels.dicom import decode_dicom
from editgrpo.data.pixels.dicom_codecs import SYNTAXES
from editgrpo.errors import DataError
from tests.data.pixels.dicom_files import dicom, encode, grey_levels, lossless_jpeg, ramp, table

UNCOMPRESSED = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
]
LOSSLESS = [
    *UNCOMPRESSED,
    uid.RLELossless,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
]
LOSSY = [uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000]


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def stored_values(folder: Path, pixels: NDArray[Any], **options: Any) -> NDArray[np.int64]:
    """Return what a file stores, exactly: VOI LUTs show the low byte and then the high one."""
    first = -2048 if pixels.dtype.kind == "i" else 0
    both = [
        grey_levels(
            folder,
            dicom(
                pixels,
                VOILUTSequence=table(first, [(v >> shift) % 256 for v in range(4096)], bits=8),
                **options,
            ),
        ).astype(np.int64)
        for shift in (0, 8)
    ]
    return both[0] + 256 * both[1] + first


@pytest.mark.slow
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("is_signed", [False, True])
def test_lossless_transfer_syntaxes_keep_every_bit(
    tmp_path: Path, syntax: uid.UID, is_signed: bool
) -> None:
    pixels = ramp(12)
    shown = pixels.astype(np.int16) - 2048 if is_signed else pixels
    frame = None
    if is_signed and syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEG2000Lossless):
        # Coded as 12 bits without a sign.
        frame = encode((shown & 0xFFF).astype(np.uint16), syntax)
    elif is_signed and syntax == uid.JPEGLSLossless:
        frame = encode(shown.view(np.uint16), syntax)  # coded as 16 bits without a sign
    found = stored_values(tmp_path, shown, syntax=syntax, frame=frame, BitsStored=12)
    assert np.array_equal(found, shown)


@pytest.mark.parametrize("syntax", LOSSY, ids=lambda syntax: syntax.keyword)
def test_lossy_transfer_syntaxes_keep_the_image(tmp_path: Path, syntax: uid.UID) -> None:
    y, x = np.mgrid[:64, :64]
    pixels = (2048 + 1500 * np.sin(x / 20) * np.cos(y / 25)).astype(np.uint16)
    found = stored_values(tmp_path, pixels, syntax=syntax, BitsStored=12)
    # JPEG-LS allows 2; the other two were made at high quality: under 0.3 % of 4096.
    assert np.abs(found - pixels).max() <= (2 if syntax == uid.JPEGLSNearLossless else 12)
    assert (found != pixels).any()


def test_jpeg_baseline_is_decoded_as_pillow_does(tmp_path: Path) -> None:
    pixels = (ramp(12, height=40) >> 4).astype(np.uint8)
    frame = encode(pixels, uid.JPEGBaseline8Bit)
    found = grey_levels(
        tmp_path,
        dicom(pixels, syntax=uid.JPEGBaseline8Bit, WindowCenter=128, WindowWidth=256),
    )
    with Image.open(BytesIO(frame)) as image:
        assert np.array_equal(found, np.asarray(image))


def test_jpeg_2000_of_another_encoder_is_read(tmp_path: Path) -> None:
    pixels = ramp(16)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", no_jp2=True)
    window = {"WindowCenter": 32768, "WindowWidth": 65536}
    compressed = dicom(pixels, syntax=uid.JPEG2000Lossless, frame=stream.getvalue(), **window)
    assert np.array_equal(
        grey_levels(tmp_path, compressed), grey_levels(tmp_path, dicom(pixels, **window))
    )


@pytest.mark.parametrize("predictor", [1, 4, 7])
def test_every_predictor_of_lossless_jpeg_is_read(tmp_path: Path, predictor: int) -> None:
    frame = lossless_jpeg(ramp(12), bits=12, predictor=predictor)
    found = stored_values(tmp_path, ramp(12), syntax=uid.JPEGLossless, frame=frame, BitsStored=12)
    assert np.array_equal(found, ramp(12))


@pytest.mark.parametrize(
    "coding", ["RLE", "implicit", "bigendian", "jp2klossless", "jpeg_ls_lossless"]
)
def test_files_of_other_programs_agree_with_their_plain_form(coding: str) -> None:
    # pydicom carries one image in many forms, made by dcmtk, GDCM and others.
    names = "MR_small.dcm", f"MR_small_{coding}.dcm"
    plain, coded = (decode_image(Path(str(get_testdata_file(n, download=False)))) for n in names)
    assert np.array_equal(np.asarray(plain), np.asarray(coded))
    assert len(np.unique(np.asarray(plain))) > 100


def test_8_bit_images_are_read_in_every_lossless_syntax(tmp_path: Path) -> None:
    pixels = (ramp(12) >> 4).astype(np.uint8)
    for syntax in LOSSLESS:
        content = dicom(pixels, syntax=syntax, WindowCenter=128, WindowWidth=256)
        assert np.array_equal(grey_levels(tmp_path, content), pixels), syntax.name


OVERLAY = 1 << 15


def with_bits_above(pixels: NDArray[Any], syntax: uid.UID) -> dict[str, Any]:
    """Return the frame of 16-bit patterns as an encoder of 16 bits makes it."""
    patterns = pixels.view(np.uint16)
    if syntax == uid.JPEG2000Lossless:
        return {"frame": imagecodecs.jpeg2k_encode(patterns, level=0, reversible=True)}
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        predictor = 1 if syntax == uid.JPEGLosslessSV1 else 7
        return {"frame": lossless_jpeg(patterns, bits=16, predictor=predictor)}
    return {"frame": encode(patterns, syntax)} if syntax.is_encapsulated else {}


@pytest.mark.slow
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("stored", [10, 12])
def test_bits_above_those_stored_are_no_grey_levels(
    tmp_path: Path, syntax: uid.UID, is_signed: bool, stored: int
) -> None:
    plain = ramp(stored)
    if is_signed:
        plain = plain.view(np.int16) - np.int16(2 ** (stored - 1))
    # An overlay in bit 15, and rubbish in the bit next to those stored.
    above = np.where(np.indices(plain.shape).sum(axis=0) % 3 == 0, OVERLAY, 0).astype(np.uint16)
    above[::2] |= 1 << stored
    keep = np.uint16(2**stored - 1)
    marked = ((plain.view(np.uint16) & keep) | above).view(plain.dtype)
    options = {"syntax": syntax, "BitsStored": stored, **with_bits_above(marked, syntax)}
    for window in ({}, {"WindowCenter": 100, "WindowWidth": 900}):
        expected = grey_levels(tmp_path, dicom(plain, BitsStored=stored, **window))
        assert len(np.unique(expected)) > 50
        assert np.array_equal(grey_levels(tmp_path, dicom(marked, **options, **window)), expected)


def test_padding_beyond_the_bits_stored_stays_padding(tmp_path: Path) -> None:
    # 63,536 is -2000 written without a sign; its lowest 12 bits would be the grey level 2096.
    pixels = np.array([[63_536, 1000, 2000, 3000]], np.uint16)
    content = dicom(pixels, BitsStored=12, PixelPaddingValue=63_536)
    assert grey_levels(tmp_path, content).tolist() == [[255, 0, 128, 255]]


def test_values_that_lossy_compression_moved_beyond_the_range_stay_at_its_end(
    tmp_path: Path,
) -> None:
    # A codestream of 16 bits may hold 4095 + 2: not the grey level 1.
    pixels = np.tile(np.array([4095, 4097, 0, 2048], np.uint16), (8, 4))
    frame = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True)
    content = dicom(pixels, syntax=uid.JPEG2000, frame=frame, BitsStored=12)
    assert grey_levels(tmp_path, content)[0, :4].tolist() == [255, 255, 0, 128]


def test_bits_stored_that_are_not_the_lowest_are_refused_wherever_all_bits_are_kept(
    tmp_path: Path,
) -> None:
    for syntax in (*UNCOMPRESSED, uid.RLELossless):
        with pytest.raises(DataError, match="not the lowest ones"):
            grey_levels(tmp_path, dicom(ramp(12), syntax=syntax, BitsStored=12, HighBit=15))


@pytest.mark.slow
@pytest.mark.parametrize("frames", ["0", "", None, "1"])
@pytest.mark.parametrize("syntax", [*LOSSLESS, *LOSSY], ids=lambda syntax: syntax.keyword)
def test_a_single_image_that_counts_no_frames_has_one(
    tmp_path: Path, syntax: uid.UID, frames: str | None
) -> None:
    content = dicom(ramp(12), syntax=syntax, BitsStored=12, NumberOfFrames=frames)
    expected = dicom(ramp(12), syntax=syntax, BitsStored=12)
    assert np.array_equal(grey_levels(tmp_path, content), grey_levels(tmp_path, expected))


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGLossless])
def test_several_images_that_count_no_frames_are_refused(tmp_path: Path, syntax: uid.UID) -> None:
    two = np.concatenate([ramp(12)] * 2)
    frames = [encode(ramp(12), syntax)] * 2 if syntax.is_encapsulated else []
    content = dicom(two, syntax=syntax, frames=frames, Rows=19, NumberOfFrames=0, BitsStored=12)
    with pytest.raises(DataError, match="has another number of frames than one"):
        grey_levels(tmp_path, content)


CODESTREAMS = [syntax for syntax in (*LOSSLESS, *LOSSY) if syntax in SYNTAXES]


@pytest.mark.slow
@pytest.mark.parametrize("syntax", CODESTREAMS, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("padding", [1, 40, 4096])
def test_zero_bytes_behind_a_codestream_are_no_damage_but_in_place_of_its_end_they_are(
    tmp_path: Path, syntax: uid.UID, padding: int
) -> None:
    frame = encode(ramp(12), syntax)
    expected = grey_levels(tmp_path, dicom(ramp(12), syntax=syntax, frame=frame, BitsStored=12))
    padded = dicom(ramp(12), syntax=syntax, frame=frame + bytes(padding), BitsStored=12)
    assert np.array_equal(grey_levels(tmp_path, padded), expected)
    for end in (len(frame) // 2, -40, -2):
        cut = dicom(ramp(12), syntax=syntax, frame=frame[:end] + bytes(padding), BitsStored=12)
        with pytest.raises(DataError, match="cut off"):
            grey_levels(tmp_path, cut)


@pytest.mark.parametrize(
    ("syntax", "marker", "offset"),
    # How far behind a marker the height or width stands.
    [
        (uid.JPEGLosslessSV1, b"\xff\xc3", 5),
        (uid.JPEGLSLossless, b"\xff\xf7", 5),
        (uid.JPEG2000Lossless, b"\xff\x51", 6),
    ],
)
def test_a_codestream_that_claims_another_size_is_not_decompressed(
    tmp_path: Path, syntax: uid.UID, marker: bytes, offset: int
) -> None:
    frame = bytearray(encode(ramp(12), syntax))
    at = frame.find(marker) + offset
    frame[at : at + 2] = b"\xff\xff"
    content = dicom(ramp(12), syntax=syntax, frame=bytes(frame), BitsStored=12)
    with pytest.raises(DataError, match=r"another size than the file says; .* not 23 x 19 x 1"):
        decode_dicom(content, max_pixels=1000)


FILES = [
    dicom(ramp(12), syntax=syntax, BitsStored=12, WindowCenter=2048, WindowWidth=4096)
    for syntax in [*LOSSLESS, *LOSSY]
] + [dicom(ramp(12), VOILUTSequence=table(99, [0, 51, 255], bits=8), PixelPaddingValue=0)]


@pytest.mark.slow
@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_altered_files_are_decoded_or_refused_and_nothing_else(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(FILES)))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(content)), st.integers(132, len(content))))
    try:
        image = decode_dicom(bytes(content[:end]), max_pixels=100_000)
    except DataError as error:
        assert "\n" not in str(error)
        assert "nvented" not in str(error)
    else:
        assert image.mode in ("L", "RGB")
