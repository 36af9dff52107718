"""The content of a model folder: hashes of its files, and what it lacks."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from editgrpo.clinical.catalogue import Entry, Need, matching
from editgrpo.model_files import shard_names

_PIECE = 1 << 22  # bytes read at once


def file_sha256(path: Path, *, progress: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file's content.

    Args:
        path: The file.
        progress: Called with the number of bytes of each piece that was read.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
            if progress is not None:
                progress(len(piece))
    return digest.hexdigest()


def git_sha1(path: Path) -> str:
    """Return the hash by which git, and so the Hub, knows a file that is kept outside of LFS."""
    content = path.read_bytes()  # what is outside of LFS is small
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def model_files(entry: Entry, folder: Path) -> list[str]:
    """List the files of a folder that belong to the model, by path with `/`, sorted."""
    if not folder.is_dir():
        return []
    names = (
        path.relative_to(folder).as_posix()
        for pattern in ("*", "*/*")
        for path in folder.glob(pattern)
        if path.is_file()
    )
    return matching(names, entry.patterns())


def missing_files(entry: Entry, folder: Path) -> str | None:
    """Say what a model folder lacks.

    Args:
        entry: The catalogue's entry of the model.
        folder: The model folder; it need not exist.

    Returns:
        A few words that name the first missing file, or None for a complete folder.
    """
    for need in entry.needs:
        if not any(_is_there(folder, names) for names in need.alternatives):
            return f"no {_described(need)}"
    for name in model_files(entry, folder):
        if name.endswith(".index.json"):
            for shard in shard_names(folder / name, "fetch the model again"):
                if not (folder / shard).is_file():
                    return f"no {shard}, which {name} names"
    return None


def _is_there(folder: Path, names: tuple[str, ...]) -> bool:
    return all((folder / name).exists() for name in names)


def _described(need: Need) -> str:
    return " or ".join(" with ".join(names) for names in need.alternatives)
