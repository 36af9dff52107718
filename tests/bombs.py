"""Small files that unpack to gigabytes, made without ever holding what they unpack to."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence

_PIECE = 1 << 24


def gzip_of_zeros(size: int, before: bytes = b"") -> bytes:
    """Return a gzip file of some bytes and then zeros: gzip files may follow on one another."""
    return gzip.compress(before) + gzip.compress(bytes(_PIECE), 9) * -(-size // _PIECE)


def deflate_of_zeros(size: int) -> bytes:
    """Return a raw deflate stream of zeros, `size` a multiple of 16 MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = packer.compress(bytes(_PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * (size // _PIECE) + packer.flush(zlib.Z_FINISH)


def zip_of_zeros(name: str, size: int, others: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """Return a zip archive with an entry of zeros beside others; its checksum is wrong."""
    stream = io.BytesIO()
    packed = deflate_of_zeros(size)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for other, content in others:
            archive.writestr(other, content)
        archive.writestr(name, packed)
    content = stream.getvalue()
    # Of local and central header: method 8 is deflate, and the size that it unpacks to.
    local = content.index(packed) - 30 - len(name)
    central = content.rindex(b"PK\x01\x02")
    for start, shift in ((local, 0), (central, 2)):
        content = _replaced(content, start + 8 + shift, struct.pack("<H", 8))
        content = _replaced(content, start + 22 + shift, struct.pack("<I", size))
    return content


def tar_gz_of_zeros(name: str, size: int, others: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """Return a compressed tar archive with an entry of zeros behind others."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for other, content in others:
            member = tarfile.TarInfo(other)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    body = stream.getvalue()[: archive.offset]
    member = tarfile.TarInfo(name)
    member.size = size
    return gzip_of_zeros(size + 1024, body + member.tobuf(tarfile.GNU_FORMAT))


def _replaced(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]
