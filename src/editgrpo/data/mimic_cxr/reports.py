"""Where the raw reports of MIMIC-CXR are, and how one is read.

They come with MIMIC-CXR, not with MIMIC-CXR-JPG: as `mimic-cxr-reports.zip`, or one by one beside
the studies, `files/p10/p10000032/s50414267.txt`. Left out: what they say; `sections.py` reads that.
"""

import gzip
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from editgrpo.errors import DataError

ARCHIVES = ("mimic-cxr-reports.zip", "mimic-cxr-reports.tar.gz", "mimic-cxr-reports.tgz")
_FOLDERS = ("mimic-cxr-reports/files", "mimic-cxr-reports", "files", "")
_WHERE = "give the folder above files/p10, or mimic-cxr-reports.zip of MIMIC-CXR"
_NO_REPORT = "holds no report such as files/p10/p10000032/s50414267.txt"
_LONGEST_REPORT = 1_000_000  # bytes; the longest of MIMIC-CXR has some ten thousand
_DAMAGED = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error)
# RuntimeError is what zipfile raises for a member that is encrypted.

_ReadBytes = Callable[[str], tuple[str, bytes | None]]


class ReportFiles:
    """The reports of a folder or an archive; to be closed, or used as a context manager.

    Attributes:
        path: The folder or archive that is read.
        in_cp1252: How many of the reports read so far were not UTF-8 but Windows-1252.
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
        self.in_cp1252 = 0
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
        try:
            opened = _open_zip if zipfile.is_zipfile(path) else _read_tar
            has_reports, read_bytes, close = opened(path)
        except _DAMAGED as error:
            problem = "is damaged, cut off or no archive"
            if isinstance(error, FileNotFoundError):
                problem = "is missing"
            raise DataError(
                f"{path}: {problem} ({type(error).__name__}); get it again, or {_WHERE}"
            ) from error
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
        return None if content is None else self._decode(where, content)

    def close(self) -> None:
        """Let go of the archive."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _decode(self, where: str, content: bytes) -> str:
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
            text = content.decode("cp1252")
        except UnicodeDecodeError as error:
            # `from None`: the original holds the bytes of the report.
            problem = f"is neither UTF-8 nor Windows-1252 at byte {error.start}"
            raise DataError(f"{where}: {problem}; get the file again") from None
        self.in_cp1252 += 1
        return text


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
    try:
        try:
            with open(path, "rb") as file:
                return path, file.read(_LONGEST_REPORT + 1)
        except FileNotFoundError:
            path += ".gz"
            with gzip.open(path, "rb") as file:
                return path, file.read(_LONGEST_REPORT + 1)
    except FileNotFoundError:
        return path, None
    except _DAMAGED as error:
        raise _unreadable(path, error) from None


def _open_zip(path: Path) -> tuple[bool, _ReadBytes, Callable[[], None]]:
    archive = zipfile.ZipFile(path)
    members = {_key(info.filename): info for info in archive.infolist()}

    def read_bytes(name: str) -> tuple[str, bytes | None]:
        where = f"{path}: {name}"
        member = members.get(name)
        if member is None:
            return where, None
        try:
            with archive.open(member) as file:
                return where, file.read(_LONGEST_REPORT + 1)
        except _DAMAGED as error:
            raise _unreadable(where, error) from None

    return any(members), read_bytes, archive.close


def _read_tar(path: Path) -> tuple[bool, _ReadBytes, Callable[[], None]]:
    contents = {}
    with tarfile.open(path) as archive:
        for member in archive:
            key = _key(member.name)
            file = archive.extractfile(member) if key and member.isreg() else None
            if file is not None:
                contents[key] = file.read(_LONGEST_REPORT + 1)
            archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
    return bool(contents), lambda name: (f"{path}: {name}", contents.get(name)), contents.clear


def _unreadable(where: str, error: BaseException) -> DataError:
    return DataError(f"{where}: cannot be read ({type(error).__name__}); get the file again")
