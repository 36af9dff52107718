"""Image features on disk: one file an image, in a folder bounded in bytes.

A folder belongs to one set of weights, images and versions; what it held for others is removed when
it is opened. Several processes, of one machine or many, may use it at once: a file appears whole
under its name or not at all, and each process may fill its share of the room only. Which features
are worth a place is decided in `features.py`.
"""

import hashlib
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor

from editgrpo.errors import DataError
from editgrpo.files import remove_partial_files, replacing
from editgrpo.foreign import reading

_SUFFIX = ".safetensors"
_NAME = "features"
_OWN_FOLDER = re.compile(r"[0-9a-f]{32}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureDisk:
    """Where features may lie on disk, and how many."""

    folder: Path
    """Of the store alone; a run folder's `features`, so that a resumed run finds them."""
    max_bytes: int
    """Most bytes of files, those of all processes together."""
    pixel_identity: str
    """What decides the patches of an image id: `PromptEncoder.pixel_identity`."""
    processes: int = 1
    """Processes that use the folder."""


class FeatureFiles:
    """The features of images by id, on disk.

    Args:
        disk: Where, and how many bytes.
        identity: Of everything that decides the numbers; features kept under another are removed.
    """

    def __init__(self, disk: FeatureDisk, identity: str) -> None:
        name = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self.folder = disk.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        _remove_others(disk.folder, name)
        # A process that writes already loses the file it is at, and goes on without it.
        remove_partial_files(self.folder)
        held = _trim(self.folder, disk.max_bytes)
        # With a fixed share of the room for each, processes need not count each other's files.
        self._room = (disk.max_bytes - held) // disk.processes

    @property
    def room(self) -> int:
        """Bytes that this process may still write."""
        return max(0, self._room)

    def __contains__(self, image_id: str) -> bool:
        return self._path(image_id).is_file()

    def read(self, image_id: str) -> Tensor | None:
        """Read the features of an image.

        A damaged file is removed, with a warning: its features can be computed again.

        Args:
            image_id: Of the study set.

        Returns:
            (N, D) on the CPU, as they were written; None where there are none.
        """
        path = self._path(image_id)
        if not path.is_file():
            return None
        try:
            with reading(path, "compute its features again"):
                return safetensors.torch.load_file(path)[_NAME]
        except DataError as error:
            cause = type(error.__cause__).__name__
            _log.warning("%s: removed, as it cannot be read (%s)", path, cause)
            path.unlink(missing_ok=True)
            return None

    def write(self, image_id: str, features_ND: Tensor) -> None:
        """Keep the features of an image, if there is room.

        A disk that is full costs time, not the run: a warning is logged and nothing more is
        written.

        Args:
            image_id: Of the study set.
            features_ND: Contiguous, on the CPU.
        """
        content = safetensors.torch.save({_NAME: features_ND})
        if len(content) > self._room:
            return
        try:
            # On the disk before it gets its name: after a crash of the machine a file is whole.
            with replacing(self._path(image_id)) as partial, partial.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except FileNotFoundError:
            return  # swept by a process that opened the folder
        except OSError as error:
            _log.warning("%s: no more features are kept (%s)", self.folder, error.strerror)
            self._room = 0
            return
        self._room -= len(content)

    def _path(self, image_id: str) -> Path:
        # An id may hold characters that a file name may not.
        return self.folder / (hashlib.sha256(image_id.encode()).hexdigest() + _SUFFIX)


def _remove_others(folder: Path, name: str) -> None:
    others = [
        entry
        for entry in folder.iterdir()
        if entry.name != name and _OWN_FOLDER.fullmatch(entry.name) and entry.is_dir()
    ]
    for entry in others:
        _log.info("%s: removed, as weights, images or versions are others now", entry)
        shutil.rmtree(entry, ignore_errors=True)  # every process of a launch tries to


def _trim(folder: Path, max_bytes: int) -> int:
    """Remove files, in the order of their names, until the rest fits; return its bytes."""
    sizes: dict[Path, int] = {}
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        if path.is_file():
            sizes[path] = path.stat().st_size
    held = sum(sizes.values())
    for path, size in sizes.items():
        if held <= max_bytes:
            break
        path.unlink(missing_ok=True)  # every process of a launch removes the same ones
        held -= size
    return held
