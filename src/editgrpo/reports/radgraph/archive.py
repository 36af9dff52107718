"""Reading a RadGraph archive: an AllenNLP `.tar.gz`, or a folder with the same files extracted.

Only the files that are known by name are read, and a `.tar.gz` is never extracted to disk, so that
paths inside it cannot do harm. Weights are read as plain tensors, never as pickled objects.
"""

import io
import json
import pickle
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from editgrpo.errors import ModelError

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
WEIGHTS = "weights.th"
VOCABULARY = "vocabulary"
_PATTERNS = "non_padded_namespaces.txt"
_REMEDY = "get it again with `editgrpo models fetch`"


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive holds.

    Attributes:
        path: Where it was read from, for messages.
        config: The training configuration.
        labels: Label namespace, such as `radgraph-xl__ner_labels`, to its labels in order.
        weights: Parameter name to tensor on the CPU, of the model with all its modules.
    """

    path: Path
    config: dict[str, Any]
    labels: Mapping[str, tuple[str, ...]]
    weights: Mapping[str, "torch.Tensor"]


def read_archive(folder: Path, name: str) -> Archive:
    """Read the archive of a model.

    Args:
        folder: Holds `<name>.tar.gz`, or `config.json`, `weights.th` and `vocabulary/`.
        name: Of the model, such as `radgraph-xl`.

    Returns:
        Its contents; the weights are on the CPU in the number format they were saved in.

    Raises:
        ModelError: the archive is missing, incomplete or damaged.
    """
    path = folder / f"{name}.tar.gz"
    path = path if path.is_file() else folder
    config: dict[str, Any] | None = None
    weights: dict[str, torch.Tensor] | None = None
    labels = {}
    try:
        for inner, stream in _files(path):
            if inner == CONFIG:
                config = json.load(stream)
            elif inner == WEIGHTS:
                weights = _load_weights(stream)
            elif inner != f"{VOCABULARY}/{_PATTERNS}":
                namespace = PurePosixPath(inner).name.removesuffix(".txt")
                labels[namespace] = _label_lines(stream.read().decode("utf-8"))
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
    except (ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"{path}: {CONFIG}, {WEIGHTS} or a vocabulary is damaged or of another format; "
            f"{_REMEDY}"
        ) from error
    if config is None or weights is None or not labels:
        raise ModelError(f"{path}: holds no {CONFIG}, {WEIGHTS} and {VOCABULARY}/; {_REMEDY}")
    return Archive(path, config, labels, weights)


def _files(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the wanted files with their names inside the archive, in one pass."""
    if path.is_dir():
        for file in (path / CONFIG, path / WEIGHTS, *sorted((path / VOCABULARY).glob("*.txt"))):
            with file.open("rb") as stream:
                yield file.relative_to(path).as_posix(), stream
        return
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            inner = PurePosixPath(member.name).as_posix()
            content = archive.extractfile(member) if _is_wanted(inner) else None
            if content is not None:
                yield inner, content


def _is_wanted(inner: str) -> bool:
    in_vocabulary = inner.startswith(f"{VOCABULARY}/") and inner.endswith(".txt")
    return inner in (CONFIG, WEIGHTS) or in_vocabulary


def _load_weights(stream: IO[bytes]) -> "dict[str, torch.Tensor]":
    import torch

    # torch seeks back and forth, which a compressed stream pays for with decompressing anew.
    state = torch.load(io.BytesIO(stream.read()), map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError("not a state dict")
    return dict(state)


def _label_lines(text: str) -> tuple[str, ...]:
    """Return one label a line; the first line of entity labels is empty: the null label."""
    lines = text.replace("\r\n", "\n").split("\n")
    return tuple(lines[:-1] if lines[-1] == "" else lines)
