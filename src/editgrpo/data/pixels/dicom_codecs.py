"""The JPEG family inside DICOM files: a decoder plugin for pydicom, over imagecodecs.

JPEG baseline, extended (8 and 12 bits) and lossless (process 14, any predictor) by libjpeg-turbo;
JPEG-LS by CharLS; JPEG 2000 by OpenJPEG. pydicom's own plugins are not used: GDCM aborts the whole
process at some altered bytes, and the one that decodes extended and lossless JPEG besides is GPL.
Before a codestream is decoded, its own header must agree with the DICOM file about the size: a
small file cannot claim gigabytes.
"""

import struct
from typing import Any

import imagecodecs
from numpy.typing import NDArray
from pydicom import uid
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder

from editgrpo.data.pixels.jpeg_stream import SOI, Codestream, end_of, find_jpeg_header
from editgrpo.errors import DataError

PLUGIN = "editgrpo"

_JPEG = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
SYNTAXES = (*_JPEG, *_JPEG_LS, *_JPEG_2000)
"""Transfer syntaxes that this plugin decodes."""

LOSSY = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
)
"""Those of them whose values may differ from what was encoded."""

DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, ("imagecodecs>=2025.3.30",))
"""Part of pydicom's plugin protocol."""

_JPEG_2000_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ
_JPEG_2000_HEADER = 43  # bytes from there to the first component's depth


def read_header(source: bytes) -> Codestream:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Args:
        source: The codestream; JPEG 2000 may be wrapped into a JP2 file.

    Returns:
        Size, number of components and bits of the first component.

    Raises:
        DataError: There is no such header; the message has no path.
    """
    if source.startswith(SOI):
        header = find_jpeg_header(source)
    elif (start := source.find(_JPEG_2000_START)) >= 0:
        header = _find_jpeg_2000_header(source, start)
    else:
        raise DataError("compressed pixel data are damaged; get the file again")
    if header is None:
        raise DataError("compressed pixel data are cut off; get the file again")
    return header


def is_available(syntax: str) -> bool:
    """Say whether this plugin decodes a transfer syntax; part of pydicom's plugin protocol."""
    return syntax in SYNTAXES


def check_header(source: bytes, *, size: tuple[int, int, int], bits_allocated: int) -> None:
    """Check that a codestream is whole and holds what its DICOM file says, before it is decoded.

    Args:
        source: The codestream.
        size: Rows, columns and samples per pixel, from the DICOM file.
        bits_allocated: For one sample, from the DICOM file.

    Raises:
        DataError: It does not; the message has no path.
    """
    header = read_header(source)
    # Without its end, JPEG is decoded in part and the rest left grey, and JPEG-LS runs for seconds.
    if not end_of(source):
        raise DataError("compressed pixel data are cut off; get the file again")
    if header[:3] != size or header.bits > bits_allocated:
        raise DataError(
            "compressed pixel data have another size than the file says; get the file again: "
            f"{header.width} x {header.height} x {header.components} of {header.bits} bits, not "
            f"{size[1]} x {size[0]} x {size[2]} of at most {bits_allocated}"
        )


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame; called by pydicom.

    Args:
        source: A codestream that `check_header` found right.
        runner: What the DICOM file says of the image. Told the bits of a sample in the result and,
            for colour, that it is RGB by pixel.

    Returns:
        Samples by row, 8 or 16 bits each, in the machine's byte order.
    """
    pixels = _decode(source[: end_of(source)], runner)
    runner.set_option("bits_allocated", 8 * pixels.itemsize)
    return pixels.tobytes()


def register() -> None:
    """Make pydicom know this plugin; calling it again changes nothing."""
    for syntax in SYNTAXES:
        decoder = get_decoder(syntax)
        if PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))


def _decode(source: bytes, runner: DecodeRunner) -> NDArray[Any]:
    is_colour = runner.samples_per_pixel == 3
    if is_colour:
        runner.set_option("planar_configuration", 0)
    if runner.transfer_syntax in _JPEG_LS:
        return imagecodecs.jpegls_decode(source)
    if runner.transfer_syntax in _JPEG_2000:
        pixels = imagecodecs.jpeg2k_decode(source, numthreads=1)
    elif is_colour:
        stored = "RGB" if runner.photometric_interpretation == "RGB" else "YCBCR"
        pixels = imagecodecs.jpeg8_decode(source, colorspace=stored, outcolorspace="RGB")
    else:
        pixels = imagecodecs.jpeg8_decode(source)
    if is_colour:
        runner.set_option("photometric_interpretation", PhotometricInterpretation.RGB)
    return pixels


def _find_jpeg_2000_header(source: bytes, start: int) -> Codestream | None:
    if len(source) < start + _JPEG_2000_HEADER:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", source, start + 8)
    components, depth = struct.unpack_from(">HB", source, start + 40)
    return Codestream(bottom - top, right - left, components, (depth & 0x7F) + 1)
