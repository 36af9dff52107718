"""What a repository of the Hub holds at a commit, and its files: of the clinical models.

The model of a run is fetched by `training/policy/load.py`, and pushed by `sharing/push.py`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from editgrpo.errors import ModelError
from editgrpo.hub_errors import hub_errors

_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """A file of a repository, with the hash that the Hub states for it."""

    name: str
    size: int
    """Bytes."""

    sha256: str | None
    """Of the content; only of files in LFS, as all weights are."""

    git_sha1: str | None
    """Of the content as git hashes it; only of files outside of LFS."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A repository at a commit."""

    repository: str
    commit: str
    files: tuple[RemoteFile, ...]


def list_repository(repository: str, revision: str | None) -> Listing:
    """Ask the Hub what a repository holds.

    Args:
        repository: Hub id.
        revision: Commit, branch or tag; None means the branch `main`.

    Returns:
        The commit that the revision stands for now, and its files.

    Raises:
        ModelError: the Hub cannot be reached or refuses; one line says why.
    """
    from huggingface_hub import HfApi

    with _errors(repository, revision):
        info = HfApi().model_info(
            repository, revision=revision or "main", files_metadata=True, timeout=_TIMEOUT_S
        )
    files = tuple(
        RemoteFile(
            name=sibling.rfilename,
            size=(sibling.lfs.size if sibling.lfs else sibling.size) or 0,
            sha256=sibling.lfs.sha256 if sibling.lfs else None,
            git_sha1=None if sibling.lfs else sibling.blob_id,
        )
        for sibling in info.siblings or ()
    )
    if info.sha is None:
        raise ModelError(f"{repository}: the Hub names no commit of {revision or 'main'}")
    return Listing(repository=repository, commit=info.sha, files=files)


def download(
    listing: Listing, file: RemoteFile, target: Path, on_bytes: Callable[[int], None]
) -> None:
    """Download a file; continue where an earlier download of it stopped.

    Args:
        listing: The repository.
        file: One of its files.
        target: Where the content goes; what is there already is taken for its beginning.
        on_bytes: Called with the number of bytes of each piece that arrived (negative where a
            server starts again).

    Raises:
        ModelError: the Hub cannot be reached or refuses; what arrived stays in `target`.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(listing.repository, file.name, revision=listing.commit)
    # Compressed on the way, a file could not be continued at a byte.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    begun = target.stat().st_size if target.is_file() else 0
    with target.open("ab") as stream, _errors(listing.repository, listing.commit):
        http_get(
            url,
            cast(Any, stream),
            resume_size=begun,
            headers=headers,
            expected_size=file.size,
            displayed_filename=file.name,
            tqdm_class=cast(Any, partial(_ByteCount, on_bytes)),
        )


class _ByteCount:
    """Stands where huggingface_hub would show a bar of its own."""

    def __init__(self, on_bytes: Callable[[int], None], **_: Any) -> None:
        self._on_bytes = on_bytes

    def __enter__(self) -> "_ByteCount":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: float | None = 1) -> None:
        self._on_bytes(int(count or 0))


def _errors(repository: str, revision: str | None) -> AbstractContextManager[None]:
    return hub_errors(
        f"{repository} at {revision or 'main'}",
        "try again, what arrived is kept",
        page=f"https://huggingface.co/{repository}",
    )
