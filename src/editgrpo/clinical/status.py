"""What can be said of a model on this machine: its state at a glance, its faults after hashing."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from editgrpo.clinical.catalogue import CATALOGUE
from editgrpo.clinical.manifest import (
    Manifest,
    changed_files,
    differing_files,
    is_stamped,
    read_manifest,
    stamped,
    write_manifest,
)
from editgrpo.clinical.model_folder import file_sha256, missing_files, model_files
from editgrpo.clinical.sources import Source


class ModelState(StrEnum):
    """How a model folder looks without its content being read."""

    PRESENT = "present"
    """Complete, and as it was fetched or put there by hand."""

    TOUCHED = "touched"
    """Complete, but files have other times than when they were fetched, as copies have."""

    CHANGED = "changed"
    """A file has another size than was fetched."""

    INCOMPLETE = "incomplete"
    """A file that the model needs is missing."""

    MISSING = "missing"
    """There is nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStatus:
    """One model on this machine."""

    source: Source
    state: ModelState
    detail: str
    """What is wrong, in a few words; empty if nothing is."""

    revision: str | None
    """Commit of the first repository: the fetched one, else the pinned one; None for own files."""

    size: int | None
    """Bytes of the model's files; None if it is missing."""


def model_status(source: Source) -> ModelStatus:
    """Look at a model folder without reading its content.

    Args:
        source: The model.

    Returns:
        Its state.

    Raises:
        ModelError: the folder's manifest is not one.
    """
    folder = source.folder
    manifest = None if source.is_own else read_manifest(folder)
    names = model_files(source.entry, folder)
    state, detail = _state(source, manifest, names)
    pinned = None if source.is_own or names else source.entry.parts[0].revision
    return ModelStatus(
        source=source,
        state=state,
        detail=detail,
        revision=manifest.parts[0].revision if manifest is not None else pinned,
        size=sum((folder / name).stat().st_size for name in names) if names else None,
    )


def _state(source: Source, manifest: Manifest | None, names: list[str]) -> tuple[ModelState, str]:
    missing = missing_files(source.entry, source.folder)
    changed = changed_files(manifest, source.folder) if manifest is not None else []
    if not names and manifest is None:
        return ModelState.MISSING, ""
    if missing is not None:
        return ModelState.INCOMPLETE, changed[0] if changed else missing
    if manifest is None:
        return ModelState.PRESENT, ""
    if changed:
        return ModelState.CHANGED, changed[0]
    if not is_stamped(manifest, source.folder):
        return ModelState.TOUCHED, "times differ; verify reads the content"
    return ModelState.PRESENT, ""


def verify_model(
    source: Source,
    *,
    pin: Manifest | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Read a model's files and compare them with what they should be.

    Args:
        source: The model.
        pin: Commits and hashes of a lock file; None takes the folder's manifest, and where there
            is none the hashes of the catalogue (none for a folder that the user names).
        progress: Called with the number of bytes of each piece that was read.

    Returns:
        One line for each fault; none if all is well.

    Raises:
        ModelError: the folder's manifest is not one.
    """
    missing = missing_files(source.entry, source.folder)
    own = None if source.is_own else read_manifest(source.folder)
    expected = pin or own
    if expected is None and missing is not None:
        return [missing]
    if expected is not None:
        faults = differing_files(expected, source.folder, progress=progress)
        if own is not None and not faults:
            with suppress(OSError):  # a read-only folder stays as it is
                write_manifest(stamped(own, source.folder), source.folder)
        return faults
    pinned = {} if source.is_own else CATALOGUE[source.model].sha256
    return [
        f"{name}: not the pinned file (SHA-256 differs)"
        for name, sha256 in pinned.items()
        if (source.folder / name).is_file()
        and file_sha256(source.folder / name, progress=progress) != sha256
    ]
