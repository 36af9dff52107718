"""Where the raw reports of MIMIC-CXR are, and how one is read.

They come with MIMIC-CXR, not with MIMIC-CXR-JPG: as `mimic-cxr-reports.zip`, or one by one beside
the studies, `files/p10/p10000032/s50414267.txt`. Left out: what they say; `sections.py` reads that.
"""

import gzip
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from editgrpo.archives import tar_entries
from editgrpo.errors import DataError
from editgrpo.foreign import reading

ARCHIVES = ("mimic-cxr-reports.zip", "mimic-cxr-reports.tar.gz", "mimic-cxr-reports.tgz")
_FOLDERS = ("mimic-cxr-reports/files", "mimic-cxr-reports", "files", "")
_WHERE = "give the folder above files/p10, or mimic-cxr-reports.zip of MIMIC-CXR"
_NO_REPORT = "holds no report such as files/p10/p10000032/s50414267.txt"
_LONGEST_REPORT = 1_000_000  # bytes; the longest of MIMIC-CXR has some ten thousand
# Of a tar archive unpacked, which is held in memory: twice the real one, 227,835 reports of about
# one block of 512 bytes for the name and three for the text.
_MOST_BYTES = 1 << 30
_NO_ARCHIVE = "is damaged, cut off or no archive ({reason})"
_AGAIN = "get the file again"

_ReadBytes = Callable[[str], tuple[str, bytes | None]]


class ReportFiles:
    """The reports of a folder or an archive; to be closed, or used as a context manager.

    Attributes:
        path: The folder or archive that is read.
    """

    def __init__(self, path: Path, read_bytes: _ReadBytes, close: Callable[[], None]) -> None:
        """Hold what `open` found.

        Args:
            path: The folder or archive.
            read_bytes: Takes `p10/p10000032/s50414267.txt`, returns how messages name that report
                and its content, None if there is none.
            close: Lets go of the archive.
        """
        self.path = path
        self._read_bytes = read_bytes
        self._close = close

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Find the reports.

        Args:
            path: A `.zip`, `.tar.gz` or `.tgz`; or a folder that holds `mimic-cxr-reports.zip` (or
                `.tar.gz`, `.tgz`), `mimic-cxr-reports/files/p10/...`, `files/p10/...` or
                `p10/...`, searched in this order. An archive is faster than single files; a tar
                archive is read into memory as a whole.

        Returns:
            The open reports.

        Raises:
            DataError: There is no report, or the archive is damaged.
        """
        path = Path(path)
        if path.is_dir():
            archives = [path / name for name in ARCHIVES if (path / name).is_file()]
            if not archives:
                folder = _folder_of_reports(path)
                return cls(folder, lambda name: _from_folder(folder, name), lambda: None)
            path = archives[0]
        if not path.exists():
            raise DataError(f"{path}: is missing (FileNotFoundError); get it again, or {_WHERE}")
        with reading(path, f"get it again, or {_WHERE}", fault=_NO_ARCHIVE):
            opened = _open_zip if zipfile.is_zipfile(path) else _read_tar
            has_reports, read_bytes, close = opened(path)
        if not has_reports:
            close()
            raise DataError(f"{path}: {_NO_REPORT}; {_WHERE}")
        return cls(path, read_bytes, close)

    def read(self, subject_id: str | int, study_id: str | int) -> str | None:
        """Read a report.

        Args:
            subject_id: Eight digits, with or without `p`.
            study_id: Eight digits, with or without `s`.

        Returns:
            Its text, None if there is no such file. Line ends are as in the file.

        Raises:
            DataError: The file is damaged, empty or in an unknown encoding; the message names it,
                then says what is wrong, then, after a semicolon, what to do.
        """
        subject = str(subject_id).removeprefix("p")
        study = str(study_id).removeprefix("s")
        where, content = self._read_bytes(f"p{subject[:2]}/p{subject}/s{study}.txt")
        return None if content is None else _decoded(where, content)

    def close(self) -> None:
        """Let go of the archive."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _decoded(where: str, content: bytes) -> str:
    problem = ""
    if not content.strip():
        problem = "is empty"
    elif len(content) > _LONGEST_REPORT:
        problem = f"has more than {_LONGEST_REPORT:,} bytes and is no report"
    elif content.startswith((b"\xff\xfe", b"\xfe\xff")):
        problem = "is UTF-16"
    elif b"\0" in content:
        problem = "holds zero bytes"
    if problem:
        raise DataError(f"{where}: {problem}; get the file again")
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError as error:
        # `from None`: the original holds the bytes of the report.
        problem = f"is neither UTF-8 nor Windows-1252 at byte {error.start}"
        raise DataError(f"{where}: {problem}; get the file again") from None


def _key(name: str) -> str:
    """Return the last three parts of a report's name, empty if it is another file's."""
    key = "/".join(name.rsplit("/", 3)[-3:])
    return key if key.endswith(".txt") and key.startswith("p") and key.count("/") == 2 else ""


def _folder_of_reports(root: Path) -> Path:
    folders = [folder for name in _FOLDERS if (folder := root / name).is_dir()]
    for folder in folders:
        if next(_reports_in(folder), None) is not None:
            return folder
    raise DataError(f"{root}: {_NO_REPORT}; MIMIC-CXR-JPG has none, {_WHERE}")


def _reports_in(folder: Path) -> Iterator[str]:
    """Yield paths of reports; no folder of images is entered."""
    for group in _folders_in(folder, length=len("p10")):
        for patient in _folders_in(group, length=len("p10000032")):
            with os.scandir(patient) as entries:
                yield from (e.path for e in entries if e.name.endswith((".txt", ".txt.gz")))


def _folders_in(folder: Path | str, length: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.name.startswith("p") and len(e.name) == length)
    yield from (path for name in names if os.path.isdir(path := os.path.join(folder, name)))


def _from_folder(folder: Path, name: str) -> tuple[str, bytes | None]:
    path = f"{folder}/{name}"
    opener: Callable[[str, str], Any] = open
    if not os.path.exists(path):
        path, opener = f"{path}.gz", gzip.open
        if not os.path.exists(path):
            return path, None
    with reading(path, _AGAIN), opener(path, "rb") as file:
        return path, file.read(_LONGEST_REPORT + 1)


def _open_zip(path: Path) -> tuple[bool, _ReadBytes, Callable[[], None]]:
    archive = zipfile.ZipFile(path)
    members = {_key(info.filename): info for info in archive.infolist()}

    def read_bytes(name: str) -> tuple[str, bytes | None]:
        where = f"{path}: {name}"
        member = members.get(name)
        if member is None:
            return where, None
        with reading(where, _AGAIN), archive.open(member) as file:
            return where, file.read(_LONGEST_REPORT + 1)

    return any(members), read_bytes, archive.close


def _read_tar(path: Path) -> tuple[bool, _ReadBytes, Callable[[], None]]:
    contents = {}
    entries = tar_entries(
        path, most_bytes=_MOST_BYTES, remedy=f"get it again, or {_WHERE}", fault=_NO_ARCHIVE
    )
    for entry in entries:
        key = _key(entry.name)
        if key and entry.is_file:
            contents[key] = entry.read(_LONGEST_REPORT + 1)
    return bool(contents), lambda name: (f"{path}: {name}", contents.get(name)), contents.clear
