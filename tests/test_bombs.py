"""Files of a few megabytes that unpack to gigabytes are refused in one line, within memory."""

import gzip
import io
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom import uid

from editgrpo.clinical.archive import encoder_of_archive
from editgrpo.clinical.checkpoint import check_checkpoint, load_checkpoint
from editgrpo.data.iu_xray.reports import read_reports
from editgrpo.data.mimic_cxr.reports import ReportFiles
from editgrpo.data.pixels.decode import decode_image
from editgrpo.data.readers.csv_columns import read_columns
from editgrpo.data.readers.table import read_table
from editgrpo.errors import EditGRPOError
from editgrpo.reports.radgraph.archive import read_archive
from tests.bombs import deflate_of_zeros, gzip_of_zeros, tar_gz_of_zeros, zip_of_zeros
from tests.data.pixels.dicom_files import dicom
from tests.data.pixels.png_files import GREY, png

GIB = 1 << 30
SIZE = 2_752 << 20  # 2.7 GiB, of the megabytes that a file of it has
# The most that any kind of file may unpack to is 1.5 GiB; tables are held once and joined once.
MOST = 1.2 * GIB

Read = Callable[[Path], object]


def read_mimic(path: Path) -> object:
    with ReportFiles.open(path) as reports:
        return reports.read("10000032", "50414267")


def read_radgraph(path: Path) -> object:
    return read_archive(path.parent, "radgraph")


def read_checkpoint(path: Path) -> object:
    return load_checkpoint(path, path, "get it again", fault="is no checkpoint")


REPORT = "files/p10/p10000032/s50414267.txt"
MANY_REPORTS = [(f"{k}.xml", bytes(900_000)) for k in range(3)]
HEADER = b"a,b\n1,2\n"

BOMBS: dict[str, tuple[str, Callable[[], bytes], Read]] = {
    "gzipped table": ("t.csv.gz", lambda: gzip_of_zeros(SIZE, HEADER), read_table),
    "gzipped long table": (
        "t.csv.gz",
        lambda: gzip_of_zeros(SIZE, HEADER),
        lambda path: read_columns(path, ["a"]),
    ),
    "zipped long table": (
        "t.zip",
        lambda: zip_of_zeros("t.csv", SIZE),
        lambda path: read_columns(path, ["a"]),
    ),
    "IU reports": (
        "NLMCXR_reports.tgz",
        lambda: tar_gz_of_zeros("1.xml", SIZE, MANY_REPORTS),
        lambda path: read_reports(path, None),
    ),
    "MIMIC reports, tar": ("r.tgz", lambda: tar_gz_of_zeros(REPORT, SIZE), read_mimic),
    "MIMIC reports, zip": ("r.zip", lambda: zip_of_zeros(REPORT, SIZE), read_mimic),
    "RadGraph": ("radgraph.tar.gz", lambda: tar_gz_of_zeros("weights.th", SIZE), read_radgraph),
    "RadGraph as it is fetched": (
        "radgraph.tar.gz",
        lambda: tar_gz_of_zeros("weights.th", SIZE),
        encoder_of_archive,
    ),
    "weights": (
        "chexbert.pth",
        lambda: zip_of_zeros("archive/data/0", SIZE, [("archive/data.pkl", b"")]),
        read_checkpoint,
    ),
    "weights that transformers reads": (
        "pytorch_model.bin",
        lambda: zip_of_zeros("archive/data/0", SIZE, [("archive/data.pkl", b"")]),
        lambda path: check_checkpoint(path, "get it again"),
    ),
    "image": ("a.png.gz", lambda: gzip_of_zeros(SIZE, b"\x89PNG\r\n\x1a\n"), decode_image),
    "DICOM": ("a.dcm.gz", lambda: gzip_of_zeros(SIZE, bytes(128) + b"DICM"), decode_image),
}


@pytest.mark.slow  # half a gigabyte is unpacked before some are refused
@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_within_memory(tmp_path: Path, kind: str) -> None:
    name, make, read = BOMBS[kind]
    path = tmp_path / name
    path.write_bytes(make())
    assert path.stat().st_size < 6_000_000
    tracemalloc.start()
    try:
        with pytest.raises(EditGRPOError) as caught:
            # A report that is too long is refused as it is read, not before.
            assert read(path) == ""
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(path.parent) in str(caught.value)
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak < MOST


def test_a_deflated_dicom_bomb_is_refused(tmp_path: Path) -> None:
    film = dicom(np.zeros((40, 40), np.uint16), syntax=uid.DeflatedExplicitVRLittleEndian)
    start = film.index(uid.DeflatedExplicitVRLittleEndian.encode())
    header = film[: start + len(uid.DeflatedExplicitVRLittleEndian)]
    path = tmp_path / "a.dcm"
    path.write_bytes(header + deflate_of_zeros(1 << 29))
    with pytest.raises(EditGRPOError):
        decode_image(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [b"iCCP", b"zTXt", b"iTXt"])
def test_text_and_profiles_of_a_png_are_not_unpacked_without_bound(
    tmp_path: Path, name: bytes
) -> None:
    packed = zlib.compress(bytes(300 << 20), 9)
    start = {b"iCCP": b"p\0\0", b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0"}[name]
    values = np.zeros((8, 8), np.uint8)
    for depth in (8, 16):
        for place in ("chunks", "behind"):
            path = tmp_path / "a.png"
            path.write_bytes(png(values, GREY, depth, **{place: [(name, start + packed)]}))
            tracemalloc.start()
            try:
                decode_image(path)
            except EditGRPOError as error:
                assert "truncated or damaged" in str(error)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 64 << 20


def test_what_torch_saves_is_never_larger_than_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    state = {"a": torch.zeros(100_000), "b": torch.ones(3, dtype=torch.bfloat16)}
    for is_zip in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=is_zip)
        found = load_checkpoint(path, path, "get it again", fault="is no checkpoint")
        assert torch.equal(found["a"], state["a"])
        check_checkpoint(path, "get it again")


class _Greedy:
    def __reduce__(self) -> tuple[type[bytearray], tuple[int]]:
        return bytearray, (SIZE,)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_that_asks_for_gigabytes_is_refused(tmp_path: Path, is_zip: bool) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": _Greedy()}, path, _use_new_zipfile_serialization=is_zip)
    assert path.stat().st_size < 3000
    tracemalloc.start()
    with pytest.raises(EditGRPOError, match="is no checkpoint; get it again"):
        load_checkpoint(path, path, "get it again", fault="is no checkpoint")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20


def test_an_archive_within_its_bound_is_read_in_every_compression(tmp_path: Path) -> None:
    content = b"<eCitation><uId id='CXR7'/><AbstractText Label='FINDINGS'>Clear.</AbstractText>"
    content += b"</eCitation>"
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        path = tmp_path / "reports.tgz"
        with tarfile.open(path, mode) as archive:
            member = tarfile.TarInfo("a/1.xml")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        (report,) = read_reports(path, None)
        assert report.findings == "Clear."


@pytest.mark.slow
def test_many_small_reports_cannot_fill_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editgrpo.data.iu_xray.reports._MOST_BYTES", 5_000_000)
    path = tmp_path / "r.tgz"
    padded = "<eCitation><uId id='CXR{}'/><p>" + "a" * 99_000 + "</p></eCitation>"
    reports = [(f"{k}.xml", padded.format(k).encode()) for k in range(99)]
    path.write_bytes(tar_gz_of_zeros("z", 1, reports))
    with pytest.raises(EditGRPOError, match=r"r.tgz: unpacks to more than 5,000,000 bytes; "):
        list(read_reports(path, None))


@pytest.mark.slow
def test_a_table_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 200_000))
    assert len(read_table(path).rows) == len(read_columns(path, ["a"])) == 200_000
