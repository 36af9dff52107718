"""AllenNLP archives as they come from the Hub: looked into, never unpacked."""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from editgrpo.archives import TarEntry, tar_entries
from editgrpo.errors import ModelError
from editgrpo.foreign import reading

MOST_ARCHIVE_BYTES = 3 << 29
"""Of an unpacked RadGraph archive, 1.5 GiB: both published ones hold some 0.45 GB, a BERT of
float32 and small layers above it."""

_CONFIG = "config.json"
_MOST_CONFIG_BYTES = 1 << 20

# The Hub's rule for names; anything else in an archive's configuration is no repository.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


def encoder_of_archive(archive: Path) -> str:
    """Return the Hub id of the encoder that an AllenNLP archive was trained with.

    The whole archive is read once, and refused if any member could be written outside of the
    folder into which it is unpacked.

    Args:
        archive: A `.tar.gz` with `config.json`.

    Returns:
        `model.embedder.token_embedders.bert.model_name` of the configuration.

    Raises:
        ModelError: it is no such archive, holds an unsafe member, or names no repository.
    """
    config: Any = None
    entries = tar_entries(
        archive,
        most_bytes=MOST_ARCHIVE_BYTES,
        remedy="fetch it again",
        error=ModelError,
        fault=f"not a readable .tar.gz with a {_CONFIG} ({{reason}})",
    )
    for entry in entries:
        _refuse_unsafe(entry, archive)
        is_config = PurePosixPath(entry.name) == PurePosixPath(_CONFIG) and entry.is_file
        if is_config and entry.size <= _MOST_CONFIG_BYTES:
            with reading(f"{archive}: {_CONFIG}", "fetch it again", error=ModelError):
                config = json.loads(entry.read(_MOST_CONFIG_BYTES))
    return _encoder_named(config, archive)


def _refuse_unsafe(entry: TarEntry, archive: Path) -> None:
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts or not (entry.is_file or entry.is_folder):
        raise ModelError(
            f"{archive}: member {entry.name!r} is a link or leads outside of the archive; do not "
            "use this file"
        )


def _encoder_named(config: Any, archive: Path) -> str:
    try:
        name = config["model"]["embedder"]["token_embedders"]["bert"]["model_name"]
    except (KeyError, TypeError):
        name = None
    if not isinstance(name, str) or _REPOSITORY.fullmatch(name) is None:
        raise ModelError(
            f"{archive}: {_CONFIG} names no encoder of the Hub under model.embedder."
            "token_embedders.bert.model_name; give an archive of RadGraph"
        )
    return name
