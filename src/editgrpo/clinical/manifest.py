"""What lies in a model folder: hashes of its files, the manifest that records them, and faults.

A manifest is written by `editgrpo models fetch` into the folder that it fills. It is the pin of
whatever the catalogue could not pin, the reference of `verify`, and what lets `model_identity`
answer without reading gigabytes. A folder that was put together by hand has none.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from editgrpo.clinical.model_folder import file_sha256
from editgrpo.errors import ModelError
from editgrpo.files import read_json_object, write_json
from editgrpo.foreign import reading

MANIFEST = "editgrpo-model.json"
_FORMAT = 1
REMEDY = "remove it and fetch again"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """One file as it was fetched."""

    size: int
    """Bytes."""

    sha256: str
    """Hash of the content, 64 hexadecimal digits."""

    modified_ns: int | None = None
    """Time of the last change, in nanoseconds, at which the hash was true; None in a lock file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartRecord:
    """One repository at the commit from which files were fetched."""

    repository: str
    revision: str
    folder: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Where the files of a model folder come from and what they contain."""

    model: str
    parts: tuple[PartRecord, ...]
    files: Mapping[str, FileRecord]
    """By path in the model folder."""

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(record.size for record in self.files.values())

    def identity(self) -> str:
        """Return the hash over the hashes of all files."""
        return combined_hash({path: record.sha256 for path, record in self.files.items()})


def combined_hash(hashes: Mapping[str, str]) -> str:
    """Return one hash for several files.

    Args:
        hashes: SHA-256 of each file by its path; the order does not matter.

    Returns:
        64 hexadecimal digits that change with any content, name or number of the files.
    """
    lines = "".join(f"{path}\0{hashes[path]}\n" for path in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def changed_files(manifest: Manifest, folder: Path) -> list[str]:
    """Compare the sizes of a folder's files with its manifest; nothing is read.

    Args:
        manifest: Of the folder.
        folder: The model folder.

    Returns:
        One line for each file that is missing or of another size.
    """
    faults = []
    for name, record in manifest.files.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{name}: missing")
        elif path.stat().st_size != record.size:
            faults.append(f"{name}: {path.stat().st_size:,} bytes instead of {record.size:,}")
    return faults


def differing_files(
    manifest: Manifest, folder: Path, *, progress: Callable[[int], None] | None = None
) -> list[str]:
    """Compare the content of a folder's files with its manifest.

    Args:
        manifest: Of the folder.
        folder: The model folder.
        progress: Called with the number of bytes of each piece that was read.

    Returns:
        One line for each file that is missing, of another size or of other content.
    """
    faults = changed_files(manifest, folder)
    known = {fault.partition(":")[0] for fault in faults}
    for name, record in manifest.files.items():
        if name not in known and file_sha256(folder / name, progress=progress) != record.sha256:
            faults.append(f"{name}: other content than was fetched (SHA-256 differs)")
    return faults


def stamped(manifest: Manifest, folder: Path) -> Manifest:
    """Return the manifest with the present modification times of a folder's files."""
    files = {
        name: replace(record, modified_ns=(folder / name).stat().st_mtime_ns)
        for name, record in manifest.files.items()
    }
    return replace(manifest, files=files)


def is_stamped(manifest: Manifest, folder: Path) -> bool:
    """Say whether sizes and modification times are those at which the hashes were true."""
    for name, record in manifest.files.items():
        try:
            facts = (folder / name).stat()
        except OSError:
            return False
        if (facts.st_size, facts.st_mtime_ns) != (record.size, record.modified_ns):
            return False
    return True


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a model folder.

    Args:
        folder: The model folder.

    Returns:
        The manifest, or None if the folder has none.

    Raises:
        ModelError: it cannot be read or has another form.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    return manifest_from(read_json_object(path, REMEDY, error=ModelError), str(path))


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest of a model folder, whole or not at all."""
    content = {"format": _FORMAT, **manifest_object(manifest)}
    write_json(folder / MANIFEST, content, shared=True)


def manifest_object(manifest: Manifest, *, stamps: bool = True) -> dict[str, Any]:
    """Return a manifest as JSON says it, with or without times of modification."""
    value = asdict(manifest)
    value["files"] = dict(sorted(value["files"].items()))
    if not stamps:
        for record in value["files"].values():
            del record["modified_ns"]
    return value


def manifest_from(value: Mapping[str, Any], place: str) -> Manifest:
    """Build a manifest from its JSON object.

    Args:
        value: As `manifest_object` returns it.
        place: Where it stands, for messages.

    Returns:
        The manifest.

    Raises:
        ModelError: the object has another form.
    """
    remedy = "remove it and fetch the model again"
    with reading(place, remedy, error=ModelError, fault="not the record of a fetched model"):
        parts = tuple(
            PartRecord(**{name: str(part[name]) for name in ("repository", "revision", "folder")})
            for part in value["parts"]
        )
        files = {
            str(name): FileRecord(
                size=int(record["size"]),
                sha256=str(record["sha256"]),
                modified_ns=record.get("modified_ns"),
            )
            for name, record in value["files"].items()
        }
        return Manifest(model=str(value["model"]), parts=parts, files=files)
