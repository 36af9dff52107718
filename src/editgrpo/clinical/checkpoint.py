"""Pickled weights of other people: no code of theirs is run, and no more memory taken than they
fill.

`torch.load(weights_only=True)` calls nothing but builders of tensors. It still unpacks whatever a
zip archive claims to hold, and makes a `bytearray` of any length that a pickle names.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

from editgrpo.errors import ModelError
from editgrpo.foreign import reading

_PIECE = 1 << 24  # bytes searched at once
_GREEDY = b"bytearray"


def load_checkpoint(source: Path | bytes, place: str | Path, remedy: str, *, fault: str) -> Any:
    """Load pickled weights on the CPU.

    Args:
        source: A file, or its content.
        place: What messages call it.
        remedy: What to do about a damaged one.
        fault: What messages say of one that cannot be read.

    Returns:
        What was saved: tensors, and containers of them.

    Raises:
        ModelError: it cannot be read without running code, or would unpack to more than it is.
    """
    import torch

    with reading(place, remedy, error=ModelError, fault=fault):
        stream = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
        with stream:
            _check(stream, f"{place}: {fault}; {remedy}")
            stream.seek(0)
            return torch.load(stream, map_location="cpu", weights_only=True)


def check_checkpoint(path: Path, remedy: str) -> None:
    """Check a file of pickled weights that another library will load.

    Args:
        path: The file.
        remedy: What to do about a damaged one.

    Raises:
        ModelError: it would unpack to more than it is.
    """
    fault = "no checkpoint that holds weights only"
    with reading(path, remedy, error=ModelError, fault=fault), path.open("rb") as stream:
        _check(stream, f"{path}: {fault}; {remedy}")


def _check(stream: Any, refusal: str) -> None:
    size = stream.seek(0, io.SEEK_END)
    if zipfile.is_zipfile(stream):
        # torch stores without compression: what unpacks to more than its file is no checkpoint.
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > size:
                raise ModelError(refusal)
            pickles = [archive.read(entry) for entry in entries if entry.filename.endswith(".pkl")]
        is_greedy = any(_GREEDY in pickle for pickle in pickles)
    else:
        is_greedy = _holds(stream, _GREEDY)
    if is_greedy:
        raise ModelError(refusal)


def _holds(stream: Any, wanted: bytes) -> bool:
    stream.seek(0)
    end = b""
    while piece := stream.read(_PIECE):
        if wanted in end + piece:
            return True
        end = piece[-len(wanted) :]
    return False
