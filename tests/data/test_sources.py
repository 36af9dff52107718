"""One function prepares every kind of source."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from editgrpo.cli import main
from editgrpo.data import sources
from editgrpo.data.folder import TableSource
from editgrpo.data.prepare import PrepareOptions
from editgrpo.data.readers.folders import require_folder
from editgrpo.data.sources import SOURCES, prepare, source_kind
from editgrpo.errors import ConfigError, DataError
from tests.data.candidates import a_study, an_image, candidates

WITH_IMAGES_ELSEWHERE = [
    kind
    for kind in SOURCES
    if kind is not TableSource and "images" in {one.name for one in fields(kind)}
]


@pytest.mark.parametrize("kind", WITH_IMAGES_ELSEWHERE)
def test_nothing_is_written_among_images_outside_of_the_root(kind: Any, tmp_path: Path) -> None:
    source = kind(root=tmp_path / "root", images=tmp_path / "films")
    with pytest.raises(ConfigError, match=r"is inside .*films, where nothing is written"):
        prepare(source, tmp_path / "films" / "studies")


def test_a_reader_of_ones_own_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set is a source, a reader and a row; the rest is shared."""

    class Mine:
        root = tmp_path / "films"

    asked = []

    def read(source: Mine, how: sources.ReadOptions) -> Any:
        asked.append(how)
        return candidates(tmp_path / "films", [a_study("s1", an_image("s1-a"))])

    monkeypatch.setattr(sources, "SOURCES", {Mine: sources.SourceKind(read=read)})
    summary = prepare(Mine(), tmp_path / "out", PrepareOptions(dry_run=True))  # type: ignore[arg-type]
    assert summary.flow.row("studies kept").total == 1
    assert asked[0].require_images and not asked[0].images_must_exist


def test_what_is_no_source_is_told_what_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Path is no source; give one of MimicCXRSource, "):
        source_kind(tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    "name", ["mimic-cxr", "rexgradient", "iu-xray", "padchest-gr", "chexpert-plus"]
)
def test_a_root_that_is_not_there_is_said_to_be_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, dry: list[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["prepare", name, "--root", str(tmp_path / "nowhere"), "--out", "studies", *dry])
    assert stop.value.code == 2
    fault = f"error: {tmp_path / 'nowhere'}: no such folder; give the one that holds "
    assert capsys.readouterr().err.startswith(fault)


def test_a_file_in_the_place_of_a_root_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").touch()
    with pytest.raises(DataError, match=r"archive\.zip: is not a folder; give the one that holds"):
        require_folder(tmp_path / "archive.zip", "the films")
