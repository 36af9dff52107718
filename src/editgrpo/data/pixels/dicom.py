"""DICOM files to 8-bit images, as a reader would see them.

Read are the elements that say how pixels are coded and shown, and, if asked for, the one that names
the projection. No other is: nothing of a patient is looked at. Left out, by name: several frames,
PALETTE COLOR, colour of more than 8 bits, pixels of 32 bits or floating point, and files without
the "DICM" header. Presentation states, overlays and embedded annotations are not applied.

Two rules are ours. A file may offer several views of its values: a VOI LUT goes before a window,
and the first of several before the others. A window that the standard forbids (a width below 1, not
a number) counts as no window.
"""

import logging
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, config, dcmread
from pydicom.encaps import get_frame, parse_basic_offsets
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from editgrpo.data.pixels import dicom_codecs
from editgrpo.data.pixels.dicom_elements import KEYWORDS, PixelModule, read_pixel_module
from editgrpo.data.pixels.grey_levels import all_values, map_pixels, values_present
from editgrpo.errors import DataError
from editgrpo.foreign import reading

_TAGS: list[BaseTag | int] = [Tag(keyword) for keyword in KEYWORDS]
_VIEW_TAGS: list[BaseTag | int] = [Tag("ViewPosition")]
_DAMAGED = "DICOM file is truncated or damaged"
# Here all bits allocated are stored; a codestream holds the lowest ones of its own number.
_WHOLE_CELLS = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
)
_SYNTAXES = (*_WHOLE_CELLS, DeflatedExplicitVRLittleEndian, *dicom_codecs.SYNTAXES)
_GROUP_LENGTH_END = 144  # preamble, "DICM" and the first element, the length of the file's header
_BYTES_PER_PIXEL = 4  # more than pixels of any kind that is read, with room for other elements
# Warnings and log lines of pydicom may quote values of the file; those of validation surely do.
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
dicom_codecs.register()


def decode_dicom(content: bytes, *, max_pixels: int) -> Image.Image:
    """Decode a radiograph.

    Args:
        content: A DICOM file of one frame, grey with 8 or 16 bits allocated or colour with 8;
            uncompressed, deflated, RLE, JPEG, JPEG-LS or JPEG 2000.
        max_pixels: Larger images are refused before they are decompressed.

    Returns:
        An image of mode "L" (grey) or "RGB" (colour).

    Raises:
        DataError: The file is damaged, of a kind that is left out, or too large. The message has
            no path, and of the file no more than numbers and names that describe its pixels.
    """
    try:
        with reading("", "get the file again", fault=_DAMAGED):
            dataset, syntax = _read(content, max_bytes=_BYTES_PER_PIXEL * max_pixels, tags=_TAGS)
            if not dataset.get("PixelData"):
                raise DataError("has no pixel data; get the file again or leave it out")
            module = read_pixel_module(dataset)
            _check_size(module, max_pixels)
            pixels = _decode_pixels(dataset, module, syntax)
    except DataError as error:
        # Not chained: pydicom's messages may quote bytes of the file.
        raise error from None
    if module.is_colour:
        return Image.fromarray(pixels.astype(np.uint8, copy=False))
    stored = module.meant_by(all_values(pixels.dtype), is_lossy=syntax in dicom_codecs.LOSSY)
    # A window asks for no range; looking for it would take longer than some decoders do.
    is_range_shown = module.grey_scale.voi is None
    present = values_present(pixels) if is_range_shown else np.ones(len(stored), np.bool_)
    levels = module.grey_scale.levels(stored, present)
    return Image.fromarray(map_pixels(pixels, levels))


def read_view_position(content: bytes, *, max_pixels: int) -> str:
    """Read the projection that a file names, its View Position (0018,5101).

    Args:
        content: A DICOM file, as `decode_dicom` takes it.
        max_pixels: A file that inflates to more than such an image needs is refused.

    Returns:
        As it is written there; empty where it is not.

    Raises:
        DataError: The file is damaged, or of a kind that is left out; the message has no path.
    """
    with reading("", "get the file again", fault=_DAMAGED):
        dataset, _ = _read(content, max_bytes=_BYTES_PER_PIXEL * max_pixels, tags=_VIEW_TAGS)
        value = dataset.get("ViewPosition")
    return value if isinstance(value, str) else ""


def _read(content: bytes, *, max_bytes: int, tags: list[BaseTag | int]) -> tuple[Dataset, UID]:
    """Return some elements, and the transfer syntax."""
    (header_length,) = struct.unpack_from("<I", content, _GROUP_LENGTH_END - 4)
    header_end = _GROUP_LENGTH_END + header_length
    if DeflatedExplicitVRLittleEndian.encode() in content[:header_end]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = inflater.decompress(content[header_end:], max_bytes)
        if inflater.unconsumed_tail:
            raise DataError(f"inflates to more than {max_bytes:,} bytes; scale the image down")
        elements = read_dataset(
            BytesIO(inflated), is_implicit_VR=False, is_little_endian=True, specific_tags=tags
        )
        return elements, ExplicitVRLittleEndian
    dataset = dcmread(BytesIO(content), specific_tags=tags)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax not in _SYNTAXES or syntax == DeflatedExplicitVRLittleEndian:
        name = syntax.name if syntax and not syntax.is_private else ""
        known = name if name and not name[0].isdigit() else "unknown"
        raise DataError(
            f"transfer syntax is {known}; convert the file to Explicit VR Little Endian"
        )
    return dataset, syntax


def _check_size(module: PixelModule, max_pixels: int) -> None:
    if module.rows * module.columns > max_pixels:
        raise DataError(
            f"has more than {max_pixels:,} pixels; scale its {module.columns} x {module.rows} down"
        )


def _decode_pixels(dataset: Dataset, module: PixelModule, syntax: UID) -> NDArray[np.generic]:
    """Return the stored values, (rows, columns) or (rows, columns, 3) RGB."""
    element = dataset["PixelData"]
    if syntax in _WHOLE_CELLS:
        module.check_high_bit()
    if not dataset.get("NumberOfFrames") and _holds_several(element.value, module, syntax):
        raise DataError("has another number of frames than one; extract the right one")
    if syntax in dicom_codecs.SYNTAXES:
        dicom_codecs.check_header(
            get_frame(element.value, 0, number_of_frames=1),
            size=(module.rows, module.columns, module.samples),
            bits_allocated=module.bits_allocated,
        )
    options = module.decoding_options() | {"pixel_keyword": "PixelData", "pixel_vr": element.VR}
    pixels, _ = get_decoder(syntax).as_array(
        element.value,
        index=0,
        decoding_plugin=dicom_codecs.PLUGIN if syntax in dicom_codecs.SYNTAXES else "",
        **options,
    )
    return pixels


def _holds_several(content: bytes, module: PixelModule, syntax: UID) -> bool:
    """Return whether pixel data of which no number of frames is told are more than one image."""
    if syntax.is_encapsulated:
        return len(parse_basic_offsets(content)) > 1
    bits = module.rows * module.columns * module.samples * module.bits_allocated
    return 8 * len(content) >= 2 * bits
