"""PNG files whose values Pillow does not hand out as they are.

Pillow reduces colour and transparency of 16 bits to 8 by dropping the low byte, which leaves 16
levels of a 12-bit film, and compares the transparent level of 2- and 4-bit files with levels of 8.
Those files are decoded by libpng, at the depth that their own header states. What they say of
gamma and significant bits (gAMA, sBIT) is left aside: values are shown linearly.
"""

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from editgrpo.data.pixels.grey_levels import GreyScale, all_values, map_pixels, values_present
from editgrpo.extras import Extra, require_extras

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">4xII2B")  # from the first chunk's name: width, height, depth, colour
_GREY = 0  # colour type of grey without alpha
_DEEP = 16


def needs_full_depth(content: bytes, *, has_transparency: bool) -> bool:
    """Say whether a file is a PNG that `decode_deep_png` must decode.

    Args:
        content: The file; Pillow found it to be JPEG or PNG.
        has_transparency: Whether it names a transparent level.

    Returns:
        Whether Pillow would lose values.
    """
    if not content.startswith(_SIGNATURE):
        return False
    _, _, depth, colour = _HEADER.unpack_from(content, len(_SIGNATURE) + 4)
    if depth == _DEEP:
        return colour != _GREY or has_transparency
    return depth < 8 and colour == _GREY and has_transparency


def decode_deep_png(content: bytes) -> NDArray[np.generic]:
    """Decode a file at full depth; whatever libpng raises at a damaged one goes through.

    Args:
        content: The file.

    Returns:
        (H, W, C) uint16, or uint8 where the file has less than 16 bits: grey or RGB, then alpha if
        the file has any, or names a transparent level.

    Raises:
        MissingExtraError: imagecodecs, which has libpng, is not installed.
    """
    require_extras(Extra.DICOM, what="a PNG of this depth")
    import imagecodecs

    values: NDArray[np.generic] = imagecodecs.png_decode(content)
    return values.reshape(*values.shape[:2], -1)


def show(values: NDArray[np.generic]) -> Image.Image:
    """Lay values over black, and map 16 bits as grey ones are: linearly from their own range.

    Args:
        values: (H, W, C) as `decode_deep_png` returns them; altered.

    Returns:
        An image of mode "L" or "RGB". All channels share one range; a factor that all alphas have
        in common is undone by it.
    """
    if values.shape[2] in (2, 4):
        values = _over_black(values)
    if values.dtype == np.uint16:
        levels = GreyScale().levels(all_values(values.dtype), values_present(values))
        values = map_pixels(values, levels)
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def _over_black(values: NDArray[np.generic]) -> NDArray[np.generic]:
    # Products of two values of 16 bits fit into 32, also with half of the divisor added.
    alpha = values[..., -1].astype(np.uint32)
    opaque = max(int(alpha.max()), 1)
    if alpha.min() < opaque:
        for channel in range(values.shape[2] - 1):
            product = values[..., channel].astype(np.uint32) * alpha
            values[..., channel] = (product + opaque // 2) // opaque
    return np.ascontiguousarray(values[..., :-1])
