"""Radiograph files to 8-bit images.

JPEG and PNG only; DICOM and everything else is left out. What is decoded is what a reader would
see: EXIF orientation applied, transparency laid over black, more than 8 bits scaled by the range of
values that the image has.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from editgrpo.errors import DataError

MAX_SOURCE_PIXELS = 80_000_000
"""Larger files are refused unread.

Five times the largest chest detector (about 4,300 x 3,500), and below the limit at which Pillow
itself warns.
"""

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# What Pillow's decoders raise on broken files; found by altering bytes of good ones.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
)


def decode_image(path: Path) -> Image.Image:
    """Decode a radiograph.

    Args:
        path: A JPEG or PNG file: 1, 8 or 16 bits a value; grey, palette, RGB or CMYK; with or
            without alpha.

    Returns:
        An image of mode "L" (source is grey) or "RGB". Values of more than 8 bits are mapped
        linearly so that the least value present becomes 0 and the greatest 255; an image of one
        value becomes 0.

    Raises:
        DataError: The file is missing, no JPEG or PNG, truncated or damaged, or has more than
            `MAX_SOURCE_PIXELS` pixels.
    """
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            width, height = image.size
            if width * height > MAX_SOURCE_PIXELS:
                raise DataError(
                    f"{path}: {width} x {height} pixels are more than {MAX_SOURCE_PIXELS:,}; "
                    "scale the image down"
                )
            image.load()
            return _to_8_bit(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise DataError(f"{path}: image file is missing; restore it or prepare again") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: is neither JPEG nor PNG; convert it to PNG") from error
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{path}: its header claims more than {MAX_SOURCE_PIXELS:,} pixels; scale it down"
        ) from error
    except _DECODER_ERRORS as error:
        raise DataError(f"{path}: image is truncated or damaged; get the file again") from error


def _to_8_bit(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in _DEEP_MODES:
        return _scale_range(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _over_black(image.convert("RGBA"))
    return image.convert("RGB")


def _scale_range(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    values -= values.min()
    if values.max() > 0:
        values *= 255 / values.max()
    return Image.fromarray(np.rint(values).astype(np.uint8))


def _over_black(image: Image.Image) -> Image.Image:
    background = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(background, image).convert("RGB")
