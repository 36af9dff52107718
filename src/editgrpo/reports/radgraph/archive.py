"""Reading a RadGraph archive: an AllenNLP `.tar.gz`, or a folder with the same files extracted.

Only the files that are known by name are read, and a `.tar.gz` is never extracted to disk, so that
paths inside it cannot do harm. Weights are read as plain tensors, never as pickled objects.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from editgrpo.archives import tar_entries
from editgrpo.clinical.archive import MOST_ARCHIVE_BYTES
from editgrpo.clinical.checkpoint import load_checkpoint
from editgrpo.errors import ModelError
from editgrpo.foreign import reading

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
WEIGHTS = "weights.th"
VOCABULARY = "vocabulary"
_PATTERNS = "non_padded_namespaces.txt"
_DAMAGED = "is damaged or of another format"
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
    for inner, content in _files(path):
        if inner == WEIGHTS:
            weights = _weights_of(content, path)
            continue
        with reading(f"{path}: {inner}", _REMEDY, error=ModelError, fault=_DAMAGED):
            if inner == CONFIG:
                config = json.loads(content)
            elif inner != f"{VOCABULARY}/{_PATTERNS}":
                namespace = PurePosixPath(inner).name.removesuffix(".txt")
                labels[namespace] = _label_lines(content.decode("utf-8"))
    if not isinstance(config, dict) or weights is None or not labels:
        raise ModelError(f"{path}: holds no {CONFIG}, {WEIGHTS} and {VOCABULARY}/; {_REMEDY}")
    return Archive(path, config, labels, weights)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names inside the archive and contents of the wanted files, in one pass."""
    if path.is_dir():
        for file in (path / CONFIG, path / WEIGHTS, *sorted((path / VOCABULARY).glob("*.txt"))):
            with reading(file, _REMEDY, error=ModelError):
                content = file.read_bytes()
            yield file.relative_to(path).as_posix(), content
        return
    entries = tar_entries(path, most_bytes=MOST_ARCHIVE_BYTES, remedy=_REMEDY, error=ModelError)
    for entry in entries:
        inner = PurePosixPath(entry.name).as_posix()
        if entry.is_file and _is_wanted(inner):
            yield inner, entry.read(entry.size)


def _is_wanted(inner: str) -> bool:
    in_vocabulary = inner.startswith(f"{VOCABULARY}/") and inner.endswith(".txt")
    return inner in (CONFIG, WEIGHTS) or in_vocabulary


def _weights_of(content: bytes, path: Path) -> "dict[str, torch.Tensor]":
    import torch

    place = f"{path}: {WEIGHTS}"
    state = load_checkpoint(content, place, _REMEDY, fault=_DAMAGED)
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise ModelError(f"{place}: {_DAMAGED}; {_REMEDY}")
    return dict(state)


def _label_lines(text: str) -> tuple[str, ...]:
    """Return one label a line; the first line of entity labels is empty: the null label."""
    lines = text.replace("\r\n", "\n").split("\n")
    return tuple(lines[:-1] if lines[-1] == "" else lines)
