import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from editgrpo import extras
from editgrpo.data.pixels.decode import decode_image
from editgrpo.data.pixels.dicom import decode_dicom
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.image_jobs import ImageJob, make_image
from editgrpo.errors import DataError, MissingExtraError
from tests.data.pixels.dicom_files import dicom, encode, grey_levels, ramp, table

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


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


@pytest.mark.slow
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
        (dicom(GREY, NumberOfFrames=2), "frames than one; extract the right one of 2"),
        (dicom(GREY, PhotometricInterpretation="PALETTE COLOR"), "PALETTE COLOR"),
        (dicom(GREY, PhotometricInterpretation=None), "not given or unknown"),
        (dicom(GREY, SamplesPerPixel=3), "MONOCHROME2 with 3 samples"),
        (dicom(GREY, BitsAllocated=32), "32 bits allocated"),
        (dicom(GREY, BitsStored=17), "17 stored"),
        (dicom(GREY, BitsStored=12, HighBit=15), "not the lowest"),
        (dicom(GREY, VOILUTFunction="CUBIC"), "VOI LUT Function is unknown"),
        (dicom(GREY, Rows=None), "Rows is missing"),
        (dicom(GREY, Columns=0), "has no rows or columns; .* \\(0 x 2 pixels"),
        (dicom(GREY, Rows=3), "truncated or damaged"),
        (dicom(GREY, VOILUTSequence=table(0, [1, 2], bits=8, entries=9)), "look-up table"),
        (dicom(GREY, VOILUTSequence=table(0, [1, 2], bits=40)), "look-up table"),
        (dicom(GREY, syntax=uid.HTJ2KLossless, frame=b"\xff\x4f"), "transfer syntax is High"),
        (dicom(GREY, syntax=uid.JPEG2000Lossless, frame=b"\0" * 8), "pixel data are damaged"),
        (dicom(GREY, syntax=uid.JPEGLossless, frame=b"\xff\xd8\xff\xc3"), "pixel data are cut off"),
        (
            dicom(GREY, syntax=uid.JPEGLossless, frame=encode(GREY, uid.JPEGLossless)[:-2]),
            "pixel data are cut off",
        ),
        (dicom(GREY)[:-30], "has no pixel data"),
        (dicom(GREY)[:-6], "truncated or damaged"),
        (dicom(GREY)[:140], "truncated or damaged"),
        (dicom(GREY).replace(b"UL\x04\0", b"UL\x06\0"), "truncated or damaged"),
        (dicom(GREY)[128:], "neither JPEG, PNG nor DICOM"),
        (
            dicom(GREY, Rows=10_000, Columns=10_000),
            "more than 80,000,000 pixels; scale its 10000 x 1",
        ),
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


def test_a_deflated_bomb_is_not_inflated() -> None:
    content = dicom(np.zeros((50, 50), np.uint16), syntax=uid.DeflatedExplicitVRLittleEndian)
    assert len(content) < 1000  # and 5,000 bytes of zeros inside
    decode_dicom(content, max_pixels=2500)
    with pytest.raises(DataError, match="inflates to more than 4,000 bytes"):
        decode_dicom(content, max_pixels=1000)


@pytest.mark.slow
def test_nothing_of_a_patient_reaches_a_log_or_a_warning(tmp_path: Path) -> None:
    # A name that is none, a number that is none, pixels cut short and too many: pydicom warns.
    content = dicom(GREY, PatientName="Invented" * 30, RescaleSlope="1")
    bad = content.replace(b"DS\x02\x001 ", b"DS\x02\x00x ")[:-4]
    (tmp_path / "a.dcm").write_bytes(bad)
    frame = encode(ramp(12), uid.JPEG2000Lossless)
    (tmp_path / "b.dcm").write_bytes(
        dicom(ramp(12), syntax=uid.JPEG2000Lossless, frame=frame[:90], BitsStored=12)
    )
    (tmp_path / "c.dcm").write_bytes(dicom(GREY, Rows=1))
    script = (
        "import sys, logging, pathlib\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        "from editgrpo.data.pixels.decode import decode_image\n"
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


def test_without_its_extra_a_preparation_ends_and_rejects_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(np.zeros((8, 8), np.uint16)))
    monkeypatch.setattr(extras, "_is_absent", lambda module: module == "pydicom")
    with pytest.raises(MissingExtraError) as caught:
        make_image(ImageJob("a", str(path)), PixelBudget())
    assert str(caught.value) == "a DICOM file needs pydicom; pip install 'editgrpo[dicom]'"
