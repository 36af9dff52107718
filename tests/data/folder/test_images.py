"""No path of a table leads out of the folder of images."""

from pathlib import Path

import pytest
from PIL import Image

from editgrpo.cli import main
from editgrpo.data.folder.images import ImageFolder
from editgrpo.data.prepared.store import StudySet
from editgrpo.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films" / "day").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    for name in ("films/a.png", "films/day/b.png", "other/c.png", "films2.png"):
        Image.new("L", (28, 28)).save(tmp_path / name)
    return tmp_path / "films"


@pytest.mark.parametrize(
    ("path", "image_id"),
    [
        ("a.png", "a.png"),
        ("./day//b.png", "day/b.png"),
        ("day/../a.png", "a.png"),
        ("absent.png", "absent.png"),
        ("..a.png", "..a.png"),
        ("{folder}/day/b.png", "day/b.png"),
    ],
)
def test_a_path_within_the_folder_has_one_name(folder: Path, path: str, image_id: str) -> None:
    images = ImageFolder(folder)
    assert images.image_id(path.format(folder=folder), "w") == image_id
    assert images.place(image_id, "w") == (image_id, str(folder / image_id))


@pytest.mark.parametrize(
    "path",
    ["../other/c.png", "day/../../other/c.png", "{folder}/../films2.png", "/etc/hosts", "..", ".",
     "{folder}2.png", "{folder}"],
)  # fmt: skip
def test_a_path_out_of_the_folder_is_refused(folder: Path, path: str) -> None:
    with pytest.raises(DataError, match=r"^t, line 2: an image path leads out of .*--images"):
        ImageFolder(folder).image_id(path.format(folder=folder), "t, line 2")


@pytest.mark.parametrize("path", ["a\0.png", "a\ud800.png"])
def test_what_can_be_no_path_is_refused(folder: Path, path: str) -> None:
    with pytest.raises(DataError, match=r"^w: an image path holds what no path can"):
        ImageFolder(folder).image_id(path, "w")


def test_a_link_out_of_the_folder_is_read_only_on_request(folder: Path) -> None:
    (folder / "inside.png").symlink_to(folder / "a.png")
    (folder / "outside.png").symlink_to(folder.parent / "other" / "c.png")
    (folder / "there").symlink_to(folder.parent / "other")
    (folder.parent / "link").symlink_to(folder)
    images = ImageFolder(folder)
    assert images.image_id("inside.png", "w") == "inside.png"
    assert ImageFolder(folder.parent / "link").image_id("a.png", "w") == "a.png"
    for path in ("outside.png", "there/c.png"):
        with pytest.raises(DataError, match=r"^w: an image is a link that leads out of .*--follow"):
            images.image_id(path, "w")
        assert ImageFolder(folder, follow_links=True).image_id(path, "w") == path


def test_the_command_refuses_and_follows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "outside.png").symlink_to(folder.parent / "other" / "c.png")
    table = folder.parent / "t.csv"
    table.write_text("sep=;\nid;file;text;pid;\n1.0;outside.png;Clear.;7.0;\n;;;;\n")
    words = ["prepare", "folder", str(table), "--images", str(folder), "--workers", "1",
             "--column", "study_id=id", "--column", "image=file", "--column", "findings=text",
             "--column", "patient_id=pid", "--out", str(folder.parent / "out"),
             "--min-pixels", "784", "--max-pixels", "1568",
             "--split-shares", "test=1"]  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert "leads out of" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main([*words, "--follow-links"])
    assert stop.value.code == 0
    (study,) = StudySet.load(folder.parent / "out")
    assert (study.study_id, study.patient_id, study.split.value) == ("1", "7", "test")
    with pytest.raises(SystemExit) as stop:
        main([*words, "--column", "split==test", "--overwrite"])
    assert stop.value.code == 2
    assert "--split-shares: the split is given already" in capsys.readouterr().err
