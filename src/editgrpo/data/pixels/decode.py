"""Radiograph files to 8-bit images: JPEG, PNG and DICOM, each also inside gzip.

What a file holds decides, not its name. What is decoded is what a reader would see: EXIF
orientation applied, transparency laid over black, DICOM's own transformations applied (`dicom.py`).
A JPEG is decoded in full, not at a fraction of its size: every pixel counts for the one that the
model's processor would make of the original.

PNG files of 16 bits, whatever their colour, name no window. They are mapped linearly from the range
of values that the image has, and no percentile is clipped: a few hot pixels do darken the rest, but
where the tails of a radiograph end and its content starts is not for a loader to guess.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from editgrpo.data.pixels import jpeg_stream
from editgrpo.data.pixels.deep_png import decode_deep_png, needs_full_depth, show
from editgrpo.data.pixels.grey_levels import GreyScale, all_values, map_pixels, values_present
from editgrpo.errors import DataError
from editgrpo.extras import Extra, require_extras
from editgrpo.foreign import reading

MAX_SOURCE_PIXELS = 80_000_000
"""Larger files are refused unread.

Five times the largest chest detector (about 4,300 x 3,500), and below the limit at which Pillow
itself warns.
"""

MISSING_FILE = "image file is missing"
"""The problem of an image that has no file."""

_MAX_SOURCE_BYTES = 4 * MAX_SOURCE_PIXELS  # two for each pixel, and as much for anything else
_PIECE = 1 << 24  # bytes read at once, more than most films have
_GZIP = b"\x1f\x8b"
_DICOM = slice(128, 132), b"DICM"
_JPEG_BITS = 8  # a value; Pillow reads no others
_DAMAGED = "image is truncated or damaged"
_DEEP_MODES = ("I", "I;16", "I;16B")  # of 16-bit PNG files, in versions of Pillow
# What sets an image upright, by the orientation that its EXIF tags state.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(path: Path, stream: IO[bytes] | None = None) -> Image.Image:
    """Decode a radiograph.

    Args:
        path: A JPEG or PNG file (1, 8 or 16 bits a value; grey, palette, RGB or CMYK; with or
            without alpha) or a DICOM file of one frame, each as it is or inside gzip.
        stream: Its content, where that lies elsewhere; the path then serves messages alone.

    Returns:
        An image of mode "L" (source is grey) or "RGB". Values of more than 8 bits that come
        without a window are mapped linearly so that the least value present becomes 0 and the
        greatest 255; an image of one value becomes 0.

    Raises:
        DataError: The file is missing, of another kind, truncated or damaged, or has more than
            `MAX_SOURCE_PIXELS` pixels. The message starts with the path; up to its remedy it holds
            no number of this file alone, so that it names a row of the flow.
        MissingExtraError: What decodes DICOM, or PNG files that Pillow does not, is not installed.
    """
    with _named(path):
        content = _read(path, stream)
        if content[_DICOM[0]] == _DICOM[1]:
            require_extras(Extra.DICOM, what="a DICOM file")
            # pydicom and its decoders take half a second to load, which most data sets do not need.
            from editgrpo.data.pixels.dicom import decode_dicom

            return decode_dicom(content, max_pixels=MAX_SOURCE_PIXELS)
        return _decode_jpeg_or_png(content)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the path before every message, and replace what the decoders raise."""
    with reading(path, "get the file again", fault=_DAMAGED):
        try:
            yield
        except FileNotFoundError as error:
            raise DataError(f"{path}: {MISSING_FILE}; restore it or prepare again") from error
        except UnidentifiedImageError as error:
            raise DataError(f"{path}: is neither JPEG, PNG nor DICOM; convert it to PNG") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        except Image.DecompressionBombError as error:
            raise DataError(
                f"{path}: has more than {MAX_SOURCE_PIXELS:,} pixels; scale it down"
            ) from error


def _read(path: Path, stream: IO[bytes] | None) -> bytes:
    with path.open("rb") if stream is None else stream as opened:
        content = _up_to_the_most(opened)
    if not content:
        raise DataError("file is empty; get it again")
    if content[:2] == _GZIP:
        with gzip.open(BytesIO(content)) as unzipped:
            content = _up_to_the_most(unzipped)
    return content


def _up_to_the_most(stream: IO[bytes] | gzip.GzipFile) -> bytes:
    """Read piece by piece: a reader that is told the most makes room for it at once."""
    content = bytearray()
    while piece := stream.read(_PIECE):
        content += piece
        if len(content) > _MAX_SOURCE_BYTES:
            raise DataError(f"holds more than {_MAX_SOURCE_BYTES:,} bytes; scale the image down")
    return bytes(content)


def _decode_jpeg_or_png(content: bytes) -> Image.Image:
    if content.startswith(jpeg_stream.SOI):
        _check_jpeg(content)
    with Image.open(BytesIO(content), formats=("JPEG", "PNG")) as image:
        width, height = image.size
        if width * height > MAX_SOURCE_PIXELS:
            raise DataError(
                f"has more than {MAX_SOURCE_PIXELS:,} pixels; scale its {width} x {height} down"
            )
        image.load()
        if needs_full_depth(content, has_transparency="transparency" in image.info):
            shown = show(decode_deep_png(content))
        else:
            shown = _to_8_bit(image)
        # Not Pillow's `exif_transpose`, which also writes the tags anew and fails at odd ones.
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        return shown if turn is None else shown.transpose(turn)


def _check_jpeg(content: bytes) -> None:
    header = jpeg_stream.find_jpeg_header(content)
    if header is not None and header.bits != _JPEG_BITS:
        raise DataError(f"is a JPEG of {header.bits} bits a value; convert it to a PNG of 16 bits")
    if not jpeg_stream.end_of(content):
        raise DataError(f"{_DAMAGED}; get the file again")


def _to_8_bit(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in _DEEP_MODES:
        pixels = np.asarray(image).astype(np.uint16, copy=False)
        levels = GreyScale().levels(all_values(pixels.dtype), values_present(pixels))
        return Image.fromarray(map_pixels(pixels, levels))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _over_black(image.convert("RGBA"))
    return image.convert("RGB")


def _over_black(image: Image.Image) -> Image.Image:
    background = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(background, image).convert("RGB")
