"""What a JPEG or JPEG-LS codestream says of itself, read without decoding it."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

SOI = b"\xff\xd8"
"""The first bytes: start of image."""

END = b"\xff\xd9"
"""The last bytes: end of image; JPEG 2000 ends with the same ones."""

# Start of frame: FFC0 to FFCF without Huffman tables, extensions and arithmetic conditioning; and
# JPEG-LS's own.
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})


class Codestream(NamedTuple):
    """What a codestream's header says of its image."""

    height: int
    width: int
    components: int
    bits: int


def find_jpeg_header(source: bytes) -> Codestream | None:
    """Find the header of a JPEG or JPEG-LS codestream.

    Args:
        source: The codestream, or its beginning.

    Returns:
        Size, number of components and bits of a component; None if there is no such header.
    """
    for marker, position in _segments(source):
        if marker in _START_OF_FRAME and position + 10 <= len(source):
            bits, height, width, components = struct.unpack_from(">BHHB", source, position + 4)
            return Codestream(height, width, components, bits)
    return None


def end_of(source: bytes) -> int:
    """Find where a codestream of the JPEG family ends, whatever comes after it.

    A decoder takes zeros that fill up a file for pixels. In compressed data FF is never followed by
    D9: the coder puts a byte or a bit between them. So the last FFD9 behind the header is the end,
    and without one the codestream was cut off.

    Args:
        source: The codestream, with any padding behind it.

    Returns:
        The position behind its end marker; 0 if it has none.
    """
    scan = next(
        (position for marker, position in _segments(source) if marker == _START_OF_SCAN), len(SOI)
    )
    last = source.rfind(END, scan)
    return 0 if last < 0 else last + len(END)


def _segments(source: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker that has a segment, and its place, up to the first scan.

    What stands between two segments is passed over, as the decoders do.
    """
    position = source.find(b"\xff", len(SOI))
    while 0 <= position <= len(source) - 4:
        marker = source[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            yield marker, position
            if marker == _START_OF_SCAN:
                return
            position += 2 + struct.unpack_from(">H", source, position + 2)[0]
        position = source.find(b"\xff", position)
