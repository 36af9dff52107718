"""Small PNG files of every kind, written here from the standard (ISO/IEC 15948)."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""Colour types."""

# First column, first row, and their steps, of the seven passes of interlacing.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(
    values: NDArray[Any],
    colour: int,
    depth: int,
    *,
    chunks: Sequence[tuple[bytes, bytes]] = (),
    behind: Sequence[tuple[bytes, bytes]] = (),
    interlaced: bool = False,
) -> bytes:
    """Return a PNG file of (H, W) or (H, W, C) values, with chunks before and behind its pixels."""
    values = values.reshape(*values.shape[:2], -1)
    height, width = values.shape[:2]
    passes = (
        [values[y::down, x::right] for x, y, right, down in _PASSES] if interlaced else [values]
    )
    rows = b"".join(_row(row, depth) for part in passes if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(*each) for each in chunks)
        + chunk(b"IDAT", zlib.compress(rows))
        + b"".join(chunk(*each) for each in behind)
        + chunk(b"IEND", b"")
    )


def _row(row: NDArray[Any], depth: int) -> bytes:
    """Return a row without a filter: values as bits, the highest first, filled up to a byte."""
    bits = "".join(f"{int(value):0{depth}b}" for value in row.ravel())
    bits += "0" * (-len(bits) % 8)
    return b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
