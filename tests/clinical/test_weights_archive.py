"""Archives are looked into, and refused when they could write where they should not."""

import io
import tarfile
from pathlib import Path

import pytest

from editgrpo.clinical.archive import encoder_of_archive
from editgrpo.errors import ModelError
from tests.clinical.hub_server import ENCODER, radgraph_archive


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_the_encoder_is_read_from_the_configuration(tmp_path: Path) -> None:
    assert encoder_of_archive(write(tmp_path / "a.tar.gz", radgraph_archive())) == ENCODER


def test_members_below_the_current_folder_are_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar.gz", radgraph_archive(**{"./vocabulary/labels.txt": b""}))
    assert encoder_of_archive(path) == ENCODER


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "vocabulary/../../evil"])
def test_a_member_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.tar.gz", radgraph_archive(**{name: b"evil"}))
    with pytest.raises(ModelError, match=rf"member '{name}' is a link or leads outside"):
        encoder_of_archive(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("config.json")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ModelError, match=r"'config\.json' is a link"):
        encoder_of_archive(path)


@pytest.mark.parametrize("encoder", ["../../etc", "a b", "https://example.org/x", "a/b/c", ""])
def test_an_encoder_that_is_no_repository_is_refused(tmp_path: Path, encoder: str) -> None:
    path = write(tmp_path / "a.tar.gz", radgraph_archive(encoder))
    with pytest.raises(ModelError, match="names no encoder of the Hub"):
        encoder_of_archive(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", radgraph_archive()[:100]],
    ids=["empty", "another", "torn off"],  # archives say when they were made
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelError, match=r"not a readable \.tar\.gz"):
        encoder_of_archive(write(tmp_path / "a.tar.gz", content))


def test_a_configuration_that_is_not_json_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("config.json")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"{x}"))
    with pytest.raises(ModelError, match="JSONDecodeError"):
        encoder_of_archive(write(tmp_path / "a.tar.gz", buffer.getvalue()))
