import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from editgrpo.data.mimic_cxr.reports import ReportFiles
from editgrpo.errors import DataError
from tests.builders import shared_data

PATIENT, STUDY = "10000001", "50000001"
NAME = f"p10/p{PATIENT}/s{STUDY}.txt"
OTHER = "p19/p19999999/s59999999.txt"
SECRET = "Invented words of a report"
CONTENT = f" FINAL REPORT\n FINDINGS: {SECRET}.\n".encode()
REPORTS = {NAME: CONTENT, OTHER: b" IMPRESSION: Fine.\n"}


def tree(root: Path, reports: dict[str, bytes] = REPORTS, *, below: str = "files") -> Path:
    for name, content in reports.items():
        path = root / below / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        (path.parent / path.name.split(".")[0]).mkdir()  # the study's images
    return root


def zipped(path: Path, reports: dict[str, bytes] = REPORTS, *, below: str = "files/") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{below}index.html", b"<html>")
        for name, content in reports.items():
            archive.writestr(below + name, content)
    return path


def tarred(path: Path, reports: dict[str, bytes] = REPORTS, *, below: str = "files/") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in reports.items():
            member = tarfile.TarInfo(below + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda root: tree(root), id="files beside the studies"),
        pytest.param(lambda root: tree(root) / "files", id="the folder files itself"),
        pytest.param(lambda root: tree(root, below="."), id="a folder given apart"),
        pytest.param(lambda root: tree(root, below="mimic-cxr-reports/files"), id="unpacked"),
        pytest.param(lambda root: tree(root, below="mimic-cxr-reports"), id="unpacked, no files"),
        pytest.param(lambda root: zipped(root / "mimic-cxr-reports.zip"), id="zip"),
        pytest.param(lambda root: zipped(root / "mimic-cxr-reports.zip").parent, id="zip in root"),
        pytest.param(lambda root: zipped(root / "x.zip", below=""), id="zip without files"),
        pytest.param(
            lambda root: zipped(root / "x.zip", below="mimic-cxr-reports/files/"), id="zip, deeper"
        ),
        pytest.param(lambda root: tarred(root / "mimic-cxr-reports.tgz"), id="tgz"),
        pytest.param(lambda root: tarred(root / "r.tar.gz", below="./files/"), id="tar.gz"),
        pytest.param(
            lambda root: tarred(root / "mimic-cxr-reports.tar.gz").parent, id="tar in root"
        ),
    ],
)
def test_reports_are_read_wherever_they_may_lie(
    build: Callable[[Path], Path], tmp_path: Path
) -> None:
    with ReportFiles.open(str(build(tmp_path))) as reports:
        assert reports.read(PATIENT, STUDY) == CONTENT.decode()
        assert reports.read(19999999, 59999999) == " IMPRESSION: Fine.\n"
        assert reports.read(f"p{PATIENT}", f"s{STUDY}") == CONTENT.decode()
        assert reports.read(PATIENT, "50000002") is None
        assert reports.read("11111111", STUDY) is None


def test_a_compressed_report_stands_in_for_a_plain_one(tmp_path: Path) -> None:
    tree(tmp_path, {NAME + ".gz": gzip.compress(CONTENT)})
    with ReportFiles.open(tmp_path) as reports:
        assert reports.read(PATIENT, STUDY) == CONTENT.decode()


def test_the_archive_in_a_root_of_images_is_found(tmp_path: Path) -> None:
    (tmp_path / "files" / NAME).with_suffix("").mkdir(parents=True)
    zipped(tmp_path / "mimic-cxr-reports.zip")
    with ReportFiles.open(tmp_path) as reports:
        assert reports.path.name == "mimic-cxr-reports.zip"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("38 °C – fine".encode(), "38 °C – fine"),
        ("\ufeffFine.".encode(), "Fine."),
        ("38 °C – fine".encode("cp1252"), "38 °C – fine"),
        (b"Two\r\nlines\rthree", "Two\r\nlines\rthree"),
    ],
)
def test_known_encodings_are_read(content: bytes, text: str, tmp_path: Path) -> None:
    with ReportFiles.open(tree(tmp_path, {NAME: content})) as reports:
        assert reports.read(PATIENT, STUDY) == text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \r\n ", "is empty"),
        (CONTENT + b"\0\0\0", "holds zero bytes"),
        (CONTENT.decode().encode("utf-16"), "is UTF-16"),
        (CONTENT + b"\x81", f"is neither UTF-8 nor Windows-1252 at byte {len(CONTENT)}"),
        (CONTENT * 30_000, "has more than 1,000,000 bytes and is no report"),
    ],
)
@pytest.mark.parametrize("form", ["tree", "zip", "tar"])
def test_a_report_that_cannot_be_trusted_is_named_without_its_words(
    content: bytes, problem: str, form: str, tmp_path: Path
) -> None:
    reports = {**REPORTS, NAME: content}
    if form == "tree":
        path = tree(tmp_path, reports)
        where = str(tmp_path / "files" / NAME)
    else:
        path = (zipped if form == "zip" else tarred)(tmp_path / form, reports)
        where = f"{path}: {NAME}"
    with ReportFiles.open(path) as opened:
        with pytest.raises(DataError) as caught:
            opened.read(PATIENT, STUDY)
        assert str(caught.value) == f"{where}: {problem}; get the file again"
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert opened.read("19999999", "59999999") == " IMPRESSION: Fine.\n"


def test_a_cut_off_compressed_report_is_named(tmp_path: Path) -> None:
    path = tree(tmp_path, {NAME + ".gz": gzip.compress(CONTENT)[:-12]})
    with ReportFiles.open(path) as reports, pytest.raises(DataError) as caught:
        reports.read(PATIENT, STUDY)
    where = tmp_path / "files" / f"{NAME}.gz"
    assert str(caught.value) == f"{where}: cannot be read (EOFError); get the file again"


def test_a_damaged_member_of_the_archive_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "reports.zip")
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(f"files/{NAME}").header_offset
    content = bytearray(path.read_bytes())
    content[start + 30 + len(f"files/{NAME}") + 8] ^= 0xFF
    path.write_bytes(content)
    with ReportFiles.open(path) as reports:
        with pytest.raises(DataError, match=r"s50000001\.txt: cannot be read \(.*\); get"):
            reports.read(PATIENT, STUDY)
        assert reports.read("19999999", "59999999") is not None


@pytest.mark.parametrize("build", [zipped, tarred])
def test_a_cut_off_archive_is_refused(build: Callable[[Path], Path], tmp_path: Path) -> None:
    path = build(tmp_path / "mimic-cxr-reports.zip")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError) as caught:
        ReportFiles.open(path)
    assert str(caught.value).startswith(f"{path}: is damaged, cut off or no archive (")
    assert "\n" not in str(caught.value)


def test_a_missing_archive_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.zip: is missing \(FileNotFoundError\); get it again"):
        ReportFiles.open(tmp_path / "no.zip")


@pytest.mark.parametrize("form", ["images alone", "nothing", "zip", "tar"])
def test_a_place_without_reports_says_that_they_come_with_mimic_cxr(
    form: str, tmp_path: Path
) -> None:
    path = tmp_path
    if form == "images alone":
        (tmp_path / "files" / NAME).with_suffix("").mkdir(parents=True)
    elif form != "nothing":
        path = (zipped if form == "zip" else tarred)(tmp_path / form, {})
    with pytest.raises(DataError) as caught:
        ReportFiles.open(path)
    assert str(caught.value).startswith(f"{path}: holds no report such as files/p10/")
    assert "mimic-cxr-reports.zip of MIMIC-CXR" in str(caught.value)


def test_the_example_in_the_true_layout_is_found() -> None:
    root = shared_data() / "layouts" / "mimic_cxr_jpg"
    with ReportFiles.open(root) as reports:
        text = reports.read(19999901, 59999901)
    assert text is not None
    assert text.split()[:2] == ["FINAL", "REPORT"]
