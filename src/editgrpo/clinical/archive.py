"""AllenNLP archives as they come from the Hub: looked into, never unpacked."""

import json
import re
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from editgrpo.errors import ModelError

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
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                _refuse_unsafe(member, archive)
                if PurePosixPath(member.name) == PurePosixPath(_CONFIG) and member.isfile():
                    stream = members.extractfile(member)
                    if stream is not None and member.size <= _MOST_CONFIG_BYTES:
                        config = json.loads(stream.read())
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise ModelError(
            f"{archive}: not a readable .tar.gz with a {_CONFIG} ({type(error).__name__}); fetch "
            "it again"
        ) from error
    return _encoder_named(config, archive)


def _refuse_unsafe(member: tarfile.TarInfo, archive: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise ModelError(
            f"{archive}: member {member.name!r} is a link or leads outside of the archive; do not "
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
