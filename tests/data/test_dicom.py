import subprocess
import sys
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

from editgrpo.data.decode import decode_image
from editgrpo.data.dicom import decode_dicom
from editgrpo.errors import DataError
from tests.data.dicom_files import dicom, encode, grey_levels, lossless_jpeg, table

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


def ramp(bits: int, *, height: int = 19, width: int = 23) -> NDArray[np.uint16]:
    """Return an image with edges, noise, and every bit of its values in use."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 9, (height, width))
    return ((x * 90 + y * 110 + noise + 2000 * (x > 11)) * 2**bits // 4096 % 2**bits).astype("u2")


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


@pytest.mark.parametrize(
    ("photometric", "shape", "expected"),
    [
        ("MONOCHROME2", None, [0, 85, 255]),
        ("MONOCHROME2", "IDENTITY", [0, 85, 255]),
        ("MONOCHROME2", "INVERSE", [255, 170, 0]),
        ("MONOCHROME1", None, [255, 170, 0]),
        ("MONOCHROME1", "IDENTITY", [255, 170, 0]),
        ("MONOCHROME1", "INVERSE", [255, 170, 0]),  # both say the same: one inversion
    ],
)
def test_images_whose_small_values_are_bright_are_inverted(
    tmp_path: Path, photometric: str, shape: str | None, expected: list[int]
) -> None:
    content = dicom(
        np.array([[0, 100, 300]], np.uint16),
        PhotometricInterpretation=photometric,
        PresentationLUTShape=shape,
    )
    assert grey_levels(tmp_path, content).tolist() == [expected]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_any_number_of_bits_fills_the_range(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    pixels = np.array([[0, top // 3, top]], np.uint16)
    found = grey_levels(tmp_path, dicom(pixels, BitsStored=bits)).tolist()
    # A third of 255 is 85; top // 3 is a third less at most 2 / 3.
    assert found == [[0, 85, 255]]


def test_bits_above_those_stored_are_ignored(tmp_path: Path) -> None:
    # 12 bits of 100, 1100 and 2100; the four bits above hold an overlay.
    pixels = np.array([[100, 1100 + 0x8000, 2100 + 0x1000]], np.uint16)
    assert grey_levels(tmp_path, dicom(pixels, BitsStored=12)).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        # LINEAR_EXACT, 0 to 400 is shown: 2 x - 100 gives -100, 100, 300
        (
            {
                "RescaleSlope": 2,
                "RescaleIntercept": -100,
                "WindowCenter": 200,
                "WindowWidth": 400,
                "VOILUTFunction": "LINEAR_EXACT",
            },
            [0, 64, 191],
        ),
        # the first of two windows; LINEAR, 100 is 0 is 0.64 and 100 128.1
        ({"WindowCenter": [100, 9], "WindowWidth": [201, 3]}, [1, 128, 255]),
        # 255 / (1 + exp(-4 (x - 100) / 200)) = 255 / (1 + e^2), 127.5, 255 / (1 + e^-2)
        (
            {"WindowCenter": 100, "WindowWidth": 200, "VOILUTFunction": "SIGMOID"},
            [30, 128, 225],
        ),
        # a table goes before a window: 100 is its second output, 51 of 255
        (
            {
                "VOILUTSequence": table(99, [0, 51, 255], bits=8),
                "WindowCenter": 5,
                "WindowWidth": 5,
            },
            [0, 51, 255],
        ),
        # outputs need 10 bits though the table claims 8: 1023 is white
        ({"VOILUTSequence": table(99, [0, 205, 1023], bits=8)}, [0, 51, 255]),
        # 0 becomes 30, 100 becomes 10 and 200 becomes 20
        ({"ModalityLUTSequence": table(99, [30, 10, 20], bits=16)}, [255, 0, 128]),
        # windows that the standard forbids count as none: 0 to 200 is shown
        ({"WindowCenter": 100, "WindowWidth": 0}, [0, 128, 255]),
        ({"WindowWidth": 9}, [0, 128, 255]),
        ({"PixelPaddingValue": 200}, [0, 255, 255]),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 50}, [0, 0, 255]),
    ],
)
def test_values_go_through_the_transformations_of_the_file(
    tmp_path: Path, elements: dict[str, Any], expected: list[int]
) -> None:
    pixels = np.array([[0, 100, 200]], np.uint16)
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.RLELossless):
        content = dicom(pixels, syntax=syntax, **elements)
        assert grey_levels(tmp_path, content).tolist() == [expected]


def test_padding_of_signed_images_is_found(tmp_path: Path) -> None:
    pixels = np.array([[-2000, -100, 0, 100]], np.int16)
    content = dicom(pixels, PixelPaddingValue=-2000)
    assert grey_levels(tmp_path, content).tolist() == [[0, 0, 128, 255]]


def test_a_packed_table_of_8_bits_is_read(tmp_path: Path) -> None:
    lookup = table(0, [0] * 4, bits=8)
    lookup[0].LUTData = bytes([0, 10, 20, 255])
    content = dicom(np.array([[0, 1, 2, 3]], np.uint8), VOILUTSequence=lookup)
    assert grey_levels(tmp_path, content).tolist() == [[0, 10, 20, 255]]


def test_colour_is_kept(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian):
        assert np.array_equal(grey_levels(tmp_path, dicom(pixels, syntax=syntax)), pixels)
    # Y = 0.299 R + 0.587 G + 0.114 B and its like: pure red is (76, 85, 255) (PS3.3 C.7.6.3.1.2)
    red = np.full((2, 2, 3), (76, 85, 255), np.uint8)
    found = grey_levels(tmp_path, dicom(red, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(found.astype(int) - (255, 0, 0)).max() <= 1
    frame = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True)
    content = dicom(
        pixels, syntax=uid.JPEG2000Lossless, frame=frame, PhotometricInterpretation="YBR_RCT"
    )
    assert np.array_equal(grey_levels(tmp_path, content), pixels)
    stream = BytesIO()
    Image.new("RGB", (16, 16), (200, 40, 90)).save(stream, "JPEG", quality=95)
    content = dicom(
        np.zeros((16, 16, 3), np.uint8),
        syntax=uid.JPEGBaseline8Bit,
        frame=stream.getvalue(),
        PhotometricInterpretation="YBR_FULL_422",
    )
    assert np.abs(grey_levels(tmp_path, content).astype(int) - (200, 40, 90)).max() <= 3


def test_files_inside_gzip_are_read(tmp_path: Path) -> None:
    content = dicom(ramp(12))
    expected = grey_levels(tmp_path, content)
    assert np.array_equal(grey_levels(tmp_path, content, zipped=True), expected)


GREY = np.array([[0, 100], [200, 300]], np.uint16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (dicom(GREY, NumberOfFrames=2), "has 2 frames"),
        (dicom(GREY, PhotometricInterpretation="PALETTE COLOR"), "PALETTE COLOR"),
        (dicom(GREY, PhotometricInterpretation=None), "not given or unknown"),
        (dicom(GREY, SamplesPerPixel=3), "MONOCHROME2 with 3 samples"),
        (dicom(GREY, BitsAllocated=32), "32 bits allocated"),
        (dicom(GREY, BitsStored=17), "17 stored"),
        (dicom(GREY, BitsStored=12, HighBit=15), "not the lowest"),
        (dicom(GREY, VOILUTFunction="CUBIC"), "VOI LUT Function is unknown"),
        (dicom(GREY, Rows=None), "Rows is missing"),
        (dicom(GREY, Columns=0), "0 x 2 pixels are no image"),
        (dicom(GREY, Rows=3), "truncated or damaged"),
        (dicom(GREY, VOILUTSequence=table(0, [1, 2], bits=8, entries=9)), "look-up table"),
        (dicom(GREY, VOILUTSequence=table(0, [1, 2], bits=40)), "look-up table"),
        (dicom(GREY, syntax=uid.HTJ2KLossless, frame=b"\xff\x4f"), "transfer syntax is High"),
        (dicom(GREY, syntax=uid.JPEG2000Lossless, frame=b"\0" * 8), "pixel data are damaged"),
        (dicom(GREY, syntax=uid.JPEGLossless, frame=b"\xff\xd8\xff\xc3"), "pixel data are cut off"),
        (dicom(GREY)[:-30], "has no pixel data"),
        (dicom(GREY)[:-6], "truncated or damaged"),
        (dicom(GREY)[:140], "truncated or damaged"),
        (dicom(GREY)[128:], "neither JPEG, PNG nor DICOM"),
        (dicom(GREY, Rows=10_000, Columns=10_000), "10000 x 10000 pixels are more than 80,000,000"),
        (b"\x1f\x8b" + bytes(40), "truncated or damaged"),
        (b"", "file is empty"),
    ],
)
def test_files_that_cannot_be_shown_are_refused_by_name(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        decode_image(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "; " in text
    assert "\n" not in text
    assert "nvented" not in text


@pytest.mark.parametrize(
    ("syntax", "offset"),
    # Where the codestream's header holds its height and width.
    [(uid.JPEGLosslessSV1, 7), (uid.JPEGLSLossless, 7), (uid.JPEG2000Lossless, 8)],
)
def test_a_codestream_that_claims_another_size_is_not_decompressed(
    tmp_path: Path, syntax: uid.UID, offset: int
) -> None:
    frame = bytearray(encode(ramp(12), syntax))
    at = frame.find(b"\xff\xf7") + 5 if syntax == uid.JPEGLSLossless else offset
    frame[at : at + 2] = b"\xff\xff"
    content = dicom(ramp(12), syntax=syntax, frame=bytes(frame), BitsStored=12)
    with pytest.raises(DataError, match="but the file says 23 x 19 x 1"):
        decode_dicom(content, max_pixels=1000)


def test_a_deflated_bomb_is_not_inflated() -> None:
    content = dicom(np.zeros((50, 50), np.uint16), syntax=uid.DeflatedExplicitVRLittleEndian)
    assert len(content) < 1000  # and 5,000 bytes of zeros inside
    decode_dicom(content, max_pixels=2500)
    with pytest.raises(DataError, match="inflates to more than 4,000 bytes"):
        decode_dicom(content, max_pixels=1000)


def test_nothing_of_a_patient_reaches_a_log_or_a_warning(tmp_path: Path) -> None:
    # A name that is no name, a number that is none, and pixels cut short: pydicom warns of each.
    content = dicom(GREY, PatientName="Invented" * 30, RescaleSlope="1")
    bad = content.replace(b"DS\x02\x001 ", b"DS\x02\x00x ")[:-4]
    (tmp_path / "a.dcm").write_bytes(bad)
    frame = encode(ramp(12), uid.JPEG2000Lossless)
    (tmp_path / "b.dcm").write_bytes(
        dicom(ramp(12), syntax=uid.JPEG2000Lossless, frame=frame[:90], BitsStored=12)
    )
    (tmp_path / "c.dcm").write_bytes(dicom(GREY) + b"excess" * 9)
    script = (
        "import sys, logging, pathlib\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        "from editgrpo.data.decode import decode_image\n"
        "from editgrpo.errors import DataError\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try: decode_image(path)\n"
        "    except DataError as error: print(str(error).removeprefix(str(path)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "damaged" in run.stdout
    assert "nvented" not in run.stdout + run.stderr
    assert [line for line in run.stderr.splitlines() if "PIL" not in line] == []


FILES = [
    dicom(ramp(12), syntax=syntax, BitsStored=12, WindowCenter=2048, WindowWidth=4096)
    for syntax in [*LOSSLESS, *LOSSY]
] + [dicom(GREY, VOILUTSequence=table(99, [0, 51, 255], bits=8), PixelPaddingValue=0)]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
