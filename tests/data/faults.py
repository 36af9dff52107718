"""Files that a radiograph may turn out to be, and that no image can be made of."""

import struct
import zlib
from io import BytesIO

from PIL import Image

from tests.builders import noise


def content_of(image: Image.Image, kind: str) -> bytes:
    stream = BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


PNG, JPEG = (content_of(noise(60, 60), kind) for kind in ("PNG", "JPEG"))


def claiming(width: int, height: int) -> bytes:
    """Return a PNG whose header claims another size; its checksum is right."""
    header = PNG[12:16] + struct.pack(">II", width, height) + PNG[24:29]
    return PNG[:12] + header + struct.pack(">I", zlib.crc32(header)) + PNG[33:]


FAULTS: dict[str, bytes] = {
    "empty": b"",
    "text": b"<html>401 Unauthorized</html>\n",
    "a signature alone": PNG[:8],
    "a header alone": PNG[:40],
    "half a PNG": PNG[: len(PNG) // 2],
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "a PNG with a changed byte": PNG[:300] + bytes([PNG[300] ^ 0xFF]) + PNG[301:],
    "a PNG with an empty colour profile behind its pixels": PNG[:-12]
    + bytes(4)
    + b"iCCP"
    + struct.pack(">I", zlib.crc32(b"iCCP"))
    + PNG[-12:],
    "half a JPEG filled up with zeros": JPEG[: len(JPEG) // 2] + bytes(100_000),
    "zeros": bytes(5_000),
    "a claim of ten billion pixels": claiming(100_000, 100_000),
    "too thin": content_of(noise(1, 201), "PNG"),
    "another format": content_of(noise(30, 30), "GIF"),
}
