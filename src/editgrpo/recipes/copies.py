"""Copies of published recipes, for people to change."""

import os
from pathlib import Path

from editgrpo.errors import ConfigError
from editgrpo.files import write_text
from editgrpo.recipes.published_files import Published
from editgrpo.recipes.yaml_core import parse_yaml


def copy_published(chosen: Published, folder: Path) -> tuple[Path, ...]:
    """Copy a published file into a folder, with the one that it extends; replace nothing.

    Args:
        chosen: The file.
        folder: Where to; it is made if it is not there.

    Returns:
        What was written, the chosen file first. One that it extends is left out if it lies there
        already as it was published.

    Raises:
        ConfigError: the chosen file lies there already, or another under the name of the one that
            it extends; nothing was written.
    """
    written = []
    for source in _with_base(chosen.path):
        target, text = folder / source.name, source.read_text(encoding="utf-8")
        if os.path.lexists(target):
            if source != chosen.path and target.is_file() and target.read_bytes() == text.encode():
                continue
            raise ConfigError(f"{target}: already there; name another folder, or move it away")
        written.append((target, text))
    for target, text in written:
        write_text(target, text, shared=True)
    return tuple(target for target, _ in written)


def _with_base(path: Path) -> tuple[Path, ...]:
    base = parse_yaml(path.read_text(encoding="utf-8"), str(path)).get("extends")
    return (path,) if base is None else (path, path.parent / base)
