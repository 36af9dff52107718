"""Damaged images of every kind: decoded or refused in one line, and nothing else."""

import random
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from pydicom import uid

from editgrpo.data.pixels.decode import decode_image
from editgrpo.errors import DataError
from tests.builders import noise
from tests.data.pixels.dicom_files import dicom, ramp, table
from tests.data.pixels.png_files import GREY, PALETTE, RGB, RGB_ALPHA, chunk, png
from tests.mutations import mutations

ICC = (b"iCCP", b"profile\0\0" + zlib.compress(bytes(200)))
TEXT = (b"tEXt", b"Comment\0of a scanner"), (b"zTXt", b"Long\0\0" + zlib.compress(b"x" * 300))
OTHERS = [
    ICC,
    *TEXT,
    (b"iTXt", b"Title\0\1\0en\0Title\0" + zlib.compress(b"words")),
    (b"gAMA", struct.pack(">I", 45_455)),
    (b"sRGB", b"\0"),
    (b"cHRM", struct.pack(">8I", *range(8))),
    (b"pHYs", struct.pack(">IIB", 3000, 3000, 1)),
    (b"tIME", bytes(7)),
    (b"tRNS", bytes(6)),
    (b"PLTE", bytes(30)),
    (b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    (b"acTL", struct.pack(">II", 2, 0)),
    (b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 10, 0, 0)),
    (b"fdAT", bytes(9)),
    (b"zzZz", b"unknown"),
]


def outcome(path: Path, content: bytes) -> str | None:
    """Return why a file is refused, None if it is decoded; anything else is an error."""
    path.write_bytes(content)
    try:
        assert decode_image(path).mode in ("L", "RGB")
    except DataError as error:
        message = str(error)
        assert message.startswith(f"{path}: ")
        assert "; " in message
        assert "\n" not in message
        return message
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({name for name, _ in OTHERS}))
def test_chunks_behind_the_pixels_never_end_a_preparation(tmp_path: Path, name: bytes) -> None:
    for content in (content for other, content in OTHERS if other == name):
        for damaged in (content, content[:-1], content[:1], b"", b"\xff" * 40):
            for colour, depth in ((GREY, 8), (GREY, 16), (RGB, 16)):
                values = np.ones((8, 8, 3 if colour == RGB else 1), np.uint8)
                for where in ("chunks", "behind"):
                    outcome(
                        tmp_path / "a", png(values, colour, depth, **{where: [(name, damaged)]})
                    )


def _shuffled(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield a PNG with its chunks out of order, twice, missing, cut short, renamed."""
    rng = random.Random(seed)
    parts, position = [], 8
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        parts.append((content[position + 4 : position + 8], content[position + 8 :][:length]))
        position += 12 + length
    for _ in range(count):
        chunks = [*parts, *rng.sample(OTHERS, rng.randint(0, 3))]
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(chunks))
            name, inner = chunks[at]
            change = rng.randrange(5)
            if change == 0:
                chunks.insert(rng.randrange(len(chunks) + 1), chunks[at])
            elif change == 1 and len(chunks) > 1:
                del chunks[at]
            elif change == 2:
                chunks[at] = name, inner[: rng.randint(0, len(inner))]
            elif change == 3:
                chunks[at] = rng.choice(OTHERS)[0], inner
            else:
                chunks.insert(rng.randrange(len(chunks)), chunks.pop(at))
        yield content[:8] + b"".join(chunk(*part) for part in chunks)


def _files() -> dict[str, bytes]:
    small = ramp(12, height=16, width=16)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    files = {
        "grey 8": png(small >> 4, GREY, 8, chunks=[ICC, *TEXT]),
        "grey 16": png(small, GREY, 16, chunks=[(b"tRNS", b"\0\7")]),
        "colour 16": png(np.stack([small] * 3, -1), RGB, 16, behind=[ICC]),
        "alpha 16": png(np.stack([small] * 4, -1), RGB_ALPHA, 16, interlaced=True),
        "palette": png(small & 3, PALETTE, 2, chunks=[(b"PLTE", bytes(12)), (b"tRNS", b"\0")]),
        "grey 2": png(small & 3, GREY, 2, chunks=[(b"tRNS", b"\0\1")]),
    }
    options: dict[str, tuple[str, dict[str, Any]]] = {
        "JPEG": ("L", {"exif": exif}),
        "progressive JPEG": ("RGB", {"progressive": True, "icc_profile": bytes(300)}),
        "CMYK JPEG": ("CMYK", {"comment": b"scanner"}),
    }
    for name, (mode, saved) in options.items():
        stream = BytesIO()
        noise(24, 24).convert(mode).save(stream, "JPEG", **saved)
        files[name] = stream.getvalue()
    window = {"WindowCenter": 2048, "WindowWidth": 4096, "BitsStored": 12}
    for syntax in (
        uid.ImplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.RLELossless,
        uid.JPEGLossless,
        uid.JPEGExtended12Bit,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
    ):
        files[syntax.keyword] = dicom(small, syntax=syntax, **window)
    lookup = table(99, [0, 51, 255], bits=8)
    files["LUT"] = dicom(small, VOILUTSequence=lookup, ModalityLUTSequence=lookup)
    return files


FILES = _files()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_are_decoded_or_refused_and_nothing_else(tmp_path: Path, kind: str) -> None:
    content = FILES[kind]
    assert outcome(tmp_path / "a", content) is None
    refused = [outcome(tmp_path / "a", altered) for altered in mutations(content, 120, seed=11)]
    if content.startswith(b"\x89PNG"):
        refused += [outcome(tmp_path / "a", altered) for altered in _shuffled(content, 120, 12)]
    assert sum(message is not None for message in refused) > 20
