"""The JPEG family inside DICOM files: a decoder plugin for pydicom, over imagecodecs.

JPEG baseline, extended (8 and 12 bits) and lossless (process 14, any predictor) by libjpeg-turbo;
JPEG-LS by CharLS; JPEG 2000 by OpenJPEG. pydicom's own plugins are not used: GDCM aborts the whole
process at some altered bytes, and the one that decodes extended and lossless JPEG besides is GPL.
Before a codestream is decoded, its own header must agree with the DICOM file about the size: a
small file cannot claim gigabytes.
"""

import struct
from typing import Any, NamedTuple

import imagecodecs
from numpy.typing import NDArray
from pydicom import uid
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder

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

DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, ("imagecodecs>=2025.3.30",))
"""Part of pydicom's plugin protocol."""

_SOI = b"\xff\xd8"
# Without its end, JPEG is decoded in part and the rest left grey, and JPEG-LS runs for seconds.
_END = b"\xff\xd9"
_END_WITHIN = 16  # bytes; behind it may stand padding
_JPEG_2000_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ
# Start of frame: FFC0 to FFCF without Huffman tables, extensions and arithmetic conditioning; and
# JPEG-LS's own.
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


class Codestream(NamedTuple):
    """What a codestream's header says of its image."""

    height: int
    width: int
    components: int
    bits: int


def read_header(source: bytes) -> Codestream:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Args:
        source: The codestream; JPEG 2000 may be wrapped into a JP2 file.

    Returns:
        Size, number of components and bits of the first component.

    Raises:
        DataError: There is no such header; the message has no path.
    """
    try:
        if source[:2] == _SOI:
            return _read_jpeg(source)
        return _read_jpeg_2000(source)
    except (struct.error, IndexError) as error:
        raise DataError("compressed pixel data are cut off; get the file again") from error


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
    if _END not in source[-_END_WITHIN:]:
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
    pixels = _decode(source, runner)
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


def _read_jpeg(source: bytes) -> Codestream:
    position = len(_SOI)
    while True:
        if source[position] != 0xFF:
            raise DataError("compressed pixel data are damaged; get the file again")
        marker = source[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _START_OF_FRAME:
            bits, height, width, components = struct.unpack_from(">BHHB", source, position + 4)
            return Codestream(height, width, components, bits)
        elif marker == _START_OF_SCAN:
            raise DataError("compressed pixel data are damaged; get the file again")
        else:
            position += 2 + struct.unpack_from(">H", source, position + 2)[0]


def _read_jpeg_2000(source: bytes) -> Codestream:
    start = source.find(_JPEG_2000_START)
    if start < 0:
        raise DataError("compressed pixel data are damaged; get the file again")
    right, bottom, left, top = struct.unpack_from(">4I", source, start + 8)
    components, depth = struct.unpack_from(">HB", source, start + 40)
    return Codestream(bottom - top, right - left, components, (depth & 0x7F) + 1)
