"""Fetching a model: every file is checked, and the folder is complete or absent.

Files arrive in a hidden folder beside the final one, which keeps what an interrupted download left;
when all are there and right, the folder is renamed. Nothing that arrives is ever run or unpickled.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from editgrpo.clinical.archive import encoder_of_archive
from editgrpo.clinical.catalogue import (
    CONFIG_AND_TOKENIZER,
    ENCODER_FOLDER,
    ENCODER_REVISIONS,
    Part,
    matching,
)
from editgrpo.clinical.hub import Listing, RemoteFile, download, list_repository
from editgrpo.clinical.manifest import (
    MANIFEST,
    FileRecord,
    Manifest,
    PartRecord,
    changed_files,
    differing_files,
    read_manifest,
    write_manifest,
)
from editgrpo.clinical.model_folder import file_sha256, git_sha1, missing_files
from editgrpo.clinical.sources import Source
from editgrpo.errors import ModelError

_LOGGER = logging.getLogger(__name__)

_UNFINISHED = ".part"


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchState:
    """How far a model is."""

    file: str
    """The file that is on its way; empty at the end."""

    files_done: int
    files: int
    bytes_done: int
    bytes: int


FetchProgress = Callable[[FetchState], None]


@contextmanager
def model_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from fetching into a model folder; wait for one that does.

    Args:
        folder: The model folder; the lock lies beside it.

    Raises:
        ModelError: the lock cannot be made there.
    """
    from filelock import FileLock, Timeout

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _LOGGER.info("waiting for another process that fetches %s", folder)
            lock.acquire()
    except OSError as error:
        raise ModelError(
            f"{folder.parent}: {error.strerror or error}; name a folder that can be written with "
            "--models or EDITGRPO_MODELS"
        ) from error
    try:
        yield
    finally:
        lock.release()


def fetch_model(
    source: Source,
    *,
    pin: Manifest | None = None,
    rehash: bool = False,
    progress: FetchProgress | None = None,
) -> Manifest | None:
    """Fetch a model unless it is there.

    Args:
        source: The model.
        pin: Commits and hashes that the files must have; None takes those of the catalogue.
        rehash: Read what is there, and fetch anew what is no longer as it was fetched.
        progress: Called as files and bytes arrive.

    Returns:
        The manifest of the complete folder; None if the folder is the user's own and has none.

    Raises:
        ModelError: the Hub refuses or cannot be reached, a file is not what it should be, or the
            folder holds files that no fetch wrote.
    """
    with model_lock(source.folder):
        manifest = read_manifest(source.folder)
        is_sound = not (rehash and manifest and differing_files(manifest, source.folder))
        if is_sound and _is_wanted(source, manifest, pin):
            return manifest
        if source.is_own or (manifest is None and _is_in_use(source.folder)):
            missing = missing_files(source.entry, source.folder)
            raise ModelError(
                f"{source.folder}: {missing or 'without a manifest'}, and fetch did not write what "
                "is there; complete it by hand or move it away"
            )
        try:
            return _Fetch(source, pin, progress).run(previous=manifest)
        except OSError as error:
            raise ModelError(
                f"{source.folder}: {error.strerror or error}; what arrived is kept, fetch again"
            ) from error


def _is_in_use(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is not None


def _is_wanted(source: Source, manifest: Manifest | None, pin: Manifest | None) -> bool:
    """Say whether what is there is complete and what was asked for."""
    if missing_files(source.entry, source.folder) is not None:
        return False
    if manifest is None:
        return pin is None
    if changed_files(manifest, source.folder):
        return False
    if pin is not None:
        return manifest.identity() == pin.identity()
    there = {(part.repository, part.folder): part.revision for part in manifest.parts}
    wanted = ((part, there.get((part.repository, part.folder))) for part in source.entry.parts)
    return all(found in (part.revision, None) for part, found in wanted if part.revision)


class _Fetch:
    """One fetch of one model into its hidden folder."""

    def __init__(
        self, source: Source, pin: Manifest | None, progress: FetchProgress | None
    ) -> None:
        self._source = source
        self._pin = pin
        self._progress = progress or (lambda _: None)
        self._staging = source.folder.with_name(f".{source.folder.name}.partial")
        self._state = FetchState(file="", files_done=0, files=0, bytes_done=0, bytes=0)

    def run(self, *, previous: Manifest | None) -> Manifest:
        """Fetch, check, and put the folder in place."""
        entry, folder = self._source.entry, self._source.folder
        self._staging.mkdir(parents=True, exist_ok=True)
        if previous is not None:
            self._keep_good_files(previous)
        plan = [(part, self._listing(part)) for part in entry.parts]
        records = self._fetch_parts(plan)
        if entry.archive is not None:
            plan.append(self._encoder_part(self._staging / entry.archive))
            records |= self._fetch_parts(plan[-1:])
        self._check(records)
        self._remove_strays(records)
        parts = tuple(
            PartRecord(repository=listing.repository, revision=listing.commit, folder=part.folder)
            for part, listing in plan
        )
        manifest = Manifest(model=self._source.model.value, parts=parts, files=records)
        write_manifest(manifest, self._staging)
        _put_in_place(self._staging, folder)
        self._show(file="")
        return manifest

    def _listing(self, part: Part) -> Listing:
        revision = part.revision
        for pinned in self._pin.parts if self._pin is not None else ():
            if (pinned.repository, pinned.folder) == (part.repository, part.folder):
                revision = pinned.revision
        listing = list_repository(part.repository, revision)
        names = matching((file.name for file in listing.files), part.patterns)
        if not names:
            raise ModelError(
                f"{part.repository} at {listing.commit}: holds none of {', '.join(part.patterns)}"
            )
        return replace(listing, files=tuple(file for file in listing.files if file.name in names))

    def _encoder_part(self, archive: Path) -> tuple[Part, Listing]:
        repository = encoder_of_archive(archive)
        part = Part(
            repository=repository,
            revision=ENCODER_REVISIONS.get(repository),
            patterns=CONFIG_AND_TOKENIZER,
            folder=ENCODER_FOLDER,
        )
        return part, self._listing(part)

    def _fetch_parts(self, plan: list[tuple[Part, Listing]]) -> dict[str, FileRecord]:
        files = [(part, listing, file) for part, listing in plan for file in listing.files]
        added = sum(file.size for *_, file in files)
        self._show(files=self._state.files + len(files), bytes=self._state.bytes + added)
        self._require_space(added)
        records = {}
        for part, listing, file in files:
            name = f"{part.folder}/{file.name}" if part.folder else file.name
            self._show(file=name)
            records[name] = self._fetch_file(listing, file, self._staging / name)
            self._show(files_done=self._state.files_done + 1)
        return records

    def _fetch_file(self, listing: Listing, file: RemoteFile, target: Path) -> FileRecord:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and (record := _matching_record(file, target)) is not None:
            self._advance(file.size)
            return record
        unfinished = target.with_name(target.name + _UNFINISHED)
        was_begun = unfinished.is_file()
        if was_begun and unfinished.stat().st_size > file.size:
            unfinished.unlink()
        self._advance(unfinished.stat().st_size if unfinished.is_file() else 0)
        download(listing, file, unfinished, self._advance)
        record_or_none = _matching_record(file, unfinished)
        if record_or_none is None:
            self._advance(-file.size)
            unfinished.unlink()
            if was_begun:  # its beginning was of another content; once more from the start
                return self._fetch_file(listing, file, target)
            raise ModelError(
                f"{listing.repository} at {listing.commit}: {file.name} arrived with another hash "
                "than the Hub states; fetch again"
            )
        os.replace(unfinished, target)
        return record_or_none

    def _check(self, records: Mapping[str, FileRecord]) -> None:
        """Compare with the hashes that the catalogue or the lock file pins."""
        expected = dict(self._source.entry.sha256)
        if self._pin is not None:
            expected = {name: record.sha256 for name, record in self._pin.files.items()}
        for name, sha256 in expected.items():
            if name not in records or records[name].sha256 != sha256:
                raise ModelError(
                    f"{self._source.model}: {name} is not the file that is pinned (SHA-256 "
                    f"{sha256[:12]}...); do not use it, and report where it came from"
                )
        missing = missing_files(self._source.entry, self._staging)
        if missing is not None:
            raise ModelError(f"{self._source.model}: the source has {missing}; name another source")

    def _keep_good_files(self, previous: Manifest) -> None:
        """Take over from a damaged or older folder what is as it was fetched."""
        folder = self._source.folder
        bad = {fault.partition(":")[0] for fault in differing_files(previous, folder)}
        for name in previous.files.keys() - bad:
            target = self._staging / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(folder / name, target)
                except OSError:  # a file system without hard links
                    shutil.copy2(folder / name, target)

    def _remove_strays(self, records: Mapping[str, FileRecord]) -> None:
        for path in sorted(self._staging.rglob("*"), reverse=True):
            name = path.relative_to(self._staging).as_posix()
            if path.is_dir():
                with suppress(OSError):  # not empty
                    path.rmdir()
            elif name not in records and name != MANIFEST:
                path.unlink()

    def _require_space(self, needed: int) -> None:
        kept = sum(path.stat().st_size for path in self._staging.rglob("*") if path.is_file())
        free = shutil.disk_usage(self._staging).free
        if needed - kept > free:
            raise ModelError(
                f"{self._source.folder.parent}: {free / 1e9:.1f} GB free, {self._source.model} "
                f"needs {(needed - kept) / 1e9:.1f} GB; make room or name another folder with "
                "--models or EDITGRPO_MODELS"
            )

    def _advance(self, count: int) -> None:
        self._show(bytes_done=self._state.bytes_done + count)

    def _show(self, **changes: int | str) -> None:
        self._state = replace(self._state, **changes)  # type: ignore[arg-type]
        self._progress(self._state)


def _matching_record(file: RemoteFile, path: Path) -> FileRecord | None:
    """Return the record of a file if it is the one that the Hub states, else None."""
    facts = path.stat()
    if facts.st_size != file.size:
        return None
    sha256 = file_sha256(path)
    if file.sha256 is not None and sha256 != file.sha256:
        return None
    if file.git_sha1 is not None and git_sha1(path) != file.git_sha1:
        return None
    return FileRecord(size=facts.st_size, sha256=sha256, modified_ns=facts.st_mtime_ns)


def _put_in_place(staging: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(staging, folder)
    shutil.rmtree(old, ignore_errors=True)
