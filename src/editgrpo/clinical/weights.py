"""The weights of the clinical models: a complete local folder, and a name for its content."""

import logging
from pathlib import Path

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.clinical.fetch import fetch_model
from editgrpo.clinical.manifest import (
    Manifest,
    changed_files,
    combined_hash,
    is_stamped,
    read_manifest,
    stamped,
    write_manifest,
)
from editgrpo.clinical.model_folder import file_sha256, missing_files, model_files
from editgrpo.clinical.sources import Source, find_source, is_offline
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ModelError
from editgrpo.files import real_path

__all__ = ["ClinicalModel", "model_folder", "model_identity"]

_LOGGER = logging.getLogger(__name__)

# Name of a folder's content by folder and by size and time of change of its files.
_IDENTITIES: dict[tuple[Path, tuple[tuple[str, int, int], ...]], str] = {}


def model_folder(model: ClinicalModel, config: ClinicalConfig) -> Path:
    """Return the folder of a model's files; fetch them if they are missing.

    Several processes may ask at once: one fetches, the others wait. The content is not hashed here
    (`editgrpo models verify` does that), but every file must be there and have the size that was
    fetched.

    Args:
        model: The model.
        config: Folder of the models, other sources, and whether downloads are off.

    Returns:
        A folder that holds every file that the model needs.

    Raises:
        ModelError: files are missing or incomplete and cannot be fetched; one line that names
            model, folder and the command that gets them.
        ConfigError: `config.sources` is wrong.
    """
    source = find_source(model, config)
    fault = _fault(source)
    if fault is None:
        return source.folder
    if source.is_own:
        raise ModelError(
            f"{model}: {source.folder} has {fault}; complete the folder, or take its source out of "
            f"the configuration and run `editgrpo models fetch {model}`"
        )
    if is_offline(config):
        raise ModelError(
            f"{model}: {source.folder} has {fault}, and downloads are off; run "
            f"`{_command(source, config)}` where there is a network"
        )
    _LOGGER.info("fetching %s from %s", model, source.entry.parts[0].repository)
    try:
        fetch_model(source)
    except ModelError as error:
        raise ModelError(
            f"{model}: {source.folder} has {fault}, and fetching failed: {error}; get it ahead of "
            f"time with `{_command(source, config)}`"
        ) from error
    return source.folder


def model_identity(model: ClinicalModel, config: ClinicalConfig) -> str:
    """Return a name for the content of a model's files, for keys of what the model computed.

    Files are hashed only where no manifest records their hashes or they were touched since.

    Args:
        model: The model; fetched if it is missing.
        config: As for `model_folder`.

    Returns:
        SHA-256 over the SHA-256 of all files, 64 hexadecimal digits: equal for equal files,
        wherever they lie and however they came there.

    Raises:
        ModelError: as for `model_folder`.
        ConfigError: as for `model_folder`.
    """
    folder = model_folder(model, config)
    entry = find_source(model, config).entry
    names = model_files(entry, folder)
    facts = [(folder / name).stat() for name in names]
    stamps = ((fact.st_size, fact.st_mtime_ns) for fact in facts)
    key = (real_path(folder), tuple((n, *stamp) for n, stamp in zip(names, stamps, strict=True)))
    if key not in _IDENTITIES:
        _IDENTITIES[key] = _identity(folder, names)
    return _IDENTITIES[key]


def _identity(folder: Path, names: list[str]) -> str:
    manifest = read_manifest(folder)
    if manifest is not None and set(manifest.files) == set(names) and is_stamped(manifest, folder):
        return manifest.identity()
    identity = combined_hash({name: file_sha256(folder / name) for name in names})
    if manifest is not None and manifest.identity() == identity:
        _renew_stamps(manifest, folder)
    return identity


def _renew_stamps(manifest: Manifest, folder: Path) -> None:
    """Record that a copied folder's hashes are still true, so that the next process is quick."""
    try:
        write_manifest(stamped(manifest, folder), folder)
    except OSError:
        _LOGGER.debug("%s is read-only; its files are hashed once in every process", folder)


def _fault(source: Source) -> str | None:
    missing = missing_files(source.entry, source.folder)
    if missing is not None:
        return missing
    manifest = None if source.is_own else read_manifest(source.folder)
    changed = changed_files(manifest, source.folder) if manifest is not None else []
    return f"an incomplete {changed[0]}" if changed else None


def _command(source: Source, config: ClinicalConfig) -> str:
    words = ["editgrpo models fetch", source.model.value]
    chosen = config.sources.get(source.model.value)
    if chosen is not None:
        words.append(f"--source {source.model}={chosen}")
    if config.models is not None:
        words.append(f"--models {config.models}")
    return " ".join(words)
