"""The beginning and the end of a preparation: which one a folder belongs to, and its account.

`unfinished.json` stands in the folder from the first image on; `prepared.json` is written last.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.boxes import BOXES_FILE
from editgrpo.data.prepared.card import card_text
from editgrpo.data.prepared.flow import Flow
from editgrpo.data.prepared.image_jobs import ImageJob
from editgrpo.data.prepared.image_store import IMAGES_FOLDER
from editgrpo.data.prepared.image_writer import RESUME
from editgrpo.data.prepared.record import study_to_row
from editgrpo.data.prepared.store import (
    FORM,
    PREPARED_FILE,
    REJECTED_FILE,
    STUDIES_FOLDER,
    UNFINISHED_FILE,
    Rejection,
)
from editgrpo.data.prepared.workers import Progress
from editgrpo.data.study import Study
from editgrpo.errors import ConfigError, DataError
from editgrpo.files import (
    json_line,
    real_path,
    remove_partial_files,
    write_json,
    write_jsonl,
    write_text,
)
from editgrpo.foreign import reading, storing
from editgrpo.ownership import is_lock

CARD_FILE = "README.md"
ENTRIES = (
    PREPARED_FILE,
    UNFINISHED_FILE,
    CARD_FILE,
    REJECTED_FILE,
    BOXES_FILE,
    STUDIES_FOLDER,
    IMAGES_FOLDER,
)
"""All that a preparation writes."""

TRUTH_FILE = "phantom_findings.jsonl"
"""Beside a set that was drawn, and only there: the findings of each film."""


def fingerprint(
    jobs: Iterable[ImageJob], budget: PixelBudget, root: Path, studies: Iterable[Study]
) -> str:
    """Return what two attempts must share for the second to continue the first.

    Args:
        jobs: All images of the set.
        budget: The size that they shall have.
        root: Of the originals, with which their paths begin; it may be mounted elsewhere when the
            preparation continues.
        studies: All studies before their images are looked at: other splits or texts are another
            set, even of the same images.

    Returns:
        64 hexadecimal digits, the same if form, budget, the ids and places of all images and all
        studies are the same, in their order.
    """
    digest = hashlib.sha256(json.dumps([FORM, asdict(budget)]).encode())
    prefix = str(root)
    for job in jobs:
        line = f"\0{job.image_id}\0{job.path.removeprefix(prefix)}"
        digest.update(line.encode(errors="surrogateescape"))
    for study in studies:
        digest.update(json_line(study_to_row(study)).encode())
    return digest.hexdigest()


def check_place(output: Path, root: Path) -> None:
    """Refuse to write among the originals.

    Args:
        output: Folder of the studies.
        root: Of the originals.

    Raises:
        ConfigError: `output` is the root, or lies in it.
    """
    if real_path(output).is_relative_to(real_path(root)):
        raise ConfigError(
            f"{output}: is inside {root}, where nothing is written; name a folder outside"
        )


def begin(output: Path, mark: str, *, resume: bool, overwrite: bool = False) -> None:
    """Start a preparation, or continue one that was interrupted.

    Args:
        output: Folder of the studies.
        mark: The fingerprint of this attempt.
        resume: Whether what is there may be continued.
        overwrite: Whether an earlier preparation there is removed first; nothing else is.

    Raises:
        ConfigError: The folder holds another preparation, one that was not to be continued, or
            something else.
        DataError: The folder cannot be written to.
        StorageError: There is no room, or the disk is out of order.
    """
    was_removed = overwrite and _remove(output)
    earlier = None if was_removed else _earlier_mark(output)
    if earlier is None and not was_removed and _holds_files(output):
        raise ConfigError(f"{output}: holds other files; name another folder")
    if earlier is not None and not resume:
        raise ConfigError(
            f"{output}: holds a preparation; add --resume to continue it, or name another folder"
        )
    if earlier is not None and earlier != mark:
        raise ConfigError(
            f"{output}: holds a preparation of other images or options; give the same ones to "
            "continue it, add --overwrite in place of --resume, or name another folder"
        )
    try:
        with storing(output):
            write_json(output / UNFINISHED_FILE, {"fingerprint": mark})
            # Where it stands, the preparation is complete, which this one is not before its end.
            (output / PREPARED_FILE).unlink(missing_ok=True)
            for folder in (output, output / STUDIES_FOLDER, output / IMAGES_FOLDER):
                remove_partial_files(folder)
    except OSError as error:
        raise DataError(
            f"{output}: cannot be written to ({error.strerror}); choose another folder"
        ) from error


def complete(
    output: Path,
    account: Mapping[str, Any],
    rejections: Sequence[Rejection],
    *,
    remedy: str = RESUME,
    progress: Progress | None = None,
) -> None:
    """Write what a finished preparation says of itself, `prepared.json` last.

    Args:
        output: Folder of the studies, with its tables and images.
        account: The content of `prepared.json` but for form and files.
        rejections: Everything that was left out.
        remedy: How the preparation is done again, for the message.
        progress: Called after each file that is hashed.

    Raises:
        DataError: The folder cannot be written to.
    """
    prepared = {"form": FORM, **account}
    try:
        write_jsonl(output / REJECTED_FILE, (asdict(rejection) for rejection in rejections))
        write_text(output / CARD_FILE, card_text(account["dataset"], prepared))
        files = hash_files(output, sealed_files(output), progress=progress)
        write_json(output / PREPARED_FILE, {**prepared, "files": files})
        (output / UNFINISHED_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{output}: cannot be written to ({error.strerror}); free space and {remedy}"
        ) from error


def sealed_files(folder: Path) -> list[str]:
    """Return the files of a prepared folder whose hashes it keeps, relative to it, sorted."""
    paths = [folder / REJECTED_FILE, folder / CARD_FILE, folder / BOXES_FILE]
    for part in (STUDIES_FOLDER, IMAGES_FOLDER):
        paths += (folder / part).glob("*.arrow")
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def hash_files(
    folder: Path, names: Sequence[str], *, progress: Progress | None = None
) -> dict[str, str]:
    """Return the SHA-256 of files.

    Args:
        folder: Where the names start.
        names: Of the files.
        progress: Called after each file.

    Returns:
        64 hexadecimal digits for each name.

    Raises:
        OSError: A file cannot be read.
    """

    def digest(name: str) -> str:
        with (folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    hashes: dict[str, str] = {}
    # Hashing leaves the interpreter lock, so threads serve.
    with ThreadPoolExecutor() as pool:
        for done, (name, value) in enumerate(zip(names, pool.map(digest, names), strict=True), 1):
            hashes[name] = value
            if progress is not None:
                progress("Hashing files", done, len(names))
    return hashes


def account_of(
    *, dataset: str, split_rule: str, budget: PixelBudget, flow: Flow, mark: str, redaction: str
) -> dict[str, Any]:
    """Put together what `prepared.json` says, but for form and files.

    Args:
        dataset: Key of `card.DATASETS`.
        split_rule: How studies were assigned to splits, in words.
        budget: The size of the images.
        flow: From source to kept.
        mark: The fingerprint of the images.
        redaction: Fingerprint of the key that hid identifiers; empty if they were not hidden.

    Returns:
        The account.
    """
    return {
        "dataset": dataset,
        "split_rule": split_rule,
        "budget": asdict(budget),
        "fingerprint": mark,
        "redaction": redaction,
        "flow": flow.record(),
    }


def _remove(output: Path) -> bool:
    """Remove what a preparation wrote but for its mark, first what says that it is complete; say
    whether there was one."""
    if not any((output / name).is_file() for name in (PREPARED_FILE, UNFINISHED_FILE)):
        return False
    try:
        # If this is killed half-way, the rest is still known as a preparation.
        write_json(output / UNFINISHED_FILE, {"fingerprint": ""})
        for entry in (output / name for name in ENTRIES if name != UNFINISHED_FILE):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{output}: the earlier preparation cannot be removed ({error.strerror}); remove it "
            "by hand, or name another folder"
        ) from error
    return True


def _holds_files(output: Path) -> bool:
    # The first file of a preparation may have been killed as it was written.
    own = f".{Path(UNFINISHED_FILE).stem}.*.partial.json"
    return output.is_dir() and any(
        not is_lock(path) and not path.match(own) for path in output.iterdir()
    )


def _earlier_mark(output: Path) -> str | None:
    for name in (PREPARED_FILE, UNFINISHED_FILE):
        path = output / name
        if path.exists():
            remedy = "add --overwrite, or name another folder"
            with reading(path, remedy, error=ConfigError, fault="is damaged"):
                return str(json.loads(path.read_bytes())["fingerprint"])
    return None
