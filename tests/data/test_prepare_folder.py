"""Where a preparation writes, and what it leaves alone."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepare import (
    Inclusion,
    PrepareOptions,
    finish,
)
from editgrpo.data.prepared.store import StudySet, read_prepared
from editgrpo.data.study import Split
from editgrpo.errors import ConfigError, DataError
from tests.builders import SMALL_BUDGET, bytes_of
from tests.data import preparation
from tests.data.candidates import (
    a_study,
    an_image,
    candidates,
    left_out,
    run,
    shown,
)


def test_nothing_is_written_where_nothing_can_be_kept(tmp_path: Path) -> None:
    studies = [a_study("s", an_image("a"), findings=""), a_study("t")]
    with pytest.raises(
        DataError, match=r"out: no study is kept \(no findings: 1, no image listed: 1\); correct"
    ):
        run(tmp_path, studies)
    assert not (tmp_path / "out").exists()


def test_a_study_that_stands_twice_is_noticed_before_the_first_image(tmp_path: Path) -> None:
    studies = [a_study("s", an_image("a")), a_study("s", an_image("b"))]
    with pytest.raises(DataError, match="study_id 's' would be in it twice"):
        run(tmp_path, studies)
    assert not (tmp_path / "out").exists()


def test_where_no_image_can_be_read_the_reasons_are_given(tmp_path: Path) -> None:
    studies = [a_study(f"s{k}", an_image(f"bad{k}")) for k in range(3)]
    with pytest.raises(
        DataError, match=r"no study is kept \(.*damaged: 3, .*\); correct"
    ) as caught:
        run(tmp_path, studies)
    assert "\n" not in str(caught.value)
    # The advice holds: the files are there now.
    run(tmp_path, [a_study("s", an_image("a"))], overwrite=True)
    assert shown(tmp_path) == {"s": ["a"]}


def test_where_no_image_exists_the_folder_is_asked_for_before_anything_is_written(
    tmp_path: Path,
) -> None:
    studies = [a_study(f"s{k}", an_image(f"absent{k}")) for k in range(3)]
    with pytest.raises(DataError, match=r"absent0\.png: image file is missing, as are all 3; give"):
        run(tmp_path, studies)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    studies = [
        a_study("s", an_image("a")),
        a_study("t", an_image("absent")),
        a_study("u", an_image("b"), findings=""),
    ]
    summary = run(tmp_path, studies, dry_run=True)
    assert not (tmp_path / "out").exists()
    assert summary.folder == tmp_path / "out"
    assert left_out(summary) == {"no findings": 1}
    assert summary.flow.row("studies kept").total == 2  # no image was looked at
    # The rest of the account is that of the true run.
    flow = run(tmp_path, [s for s in studies if s.study_id != "t"]).flow
    assert run(tmp_path, [s for s in studies if s.study_id != "t"], dry_run=True).flow == flow


def test_the_originals_stay_as_they_were(tmp_path: Path) -> None:
    root = preparation.write_originals(tmp_path / "root")
    before = bytes_of(root), [path.stat() for path in sorted(root.rglob("*"))]
    preparation.prepare(root, tmp_path / "out")
    after = bytes_of(root), [path.stat() for path in sorted(root.rglob("*"))]
    assert before[0] == after[0]
    times = [[(s.st_mtime_ns, s.st_ctime_ns, s.st_mode) for s in b] for _, b in (before, after)]
    assert times[0] == times[1]


@pytest.mark.parametrize(
    "place",
    [
        lambda root: root,
        lambda root: root / "out",
        lambda root: root / "deep" / "er",
        lambda root: root.parent / "elsewhere" / ".." / root.name / "out",
        lambda root: root.parent / "link" / "out",
        lambda root: Path(os.path.relpath(root / "out")),
    ],
)
def test_nothing_is_written_among_the_originals(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    root = tmp_path / "root"
    source = candidates(root, [a_study("s", an_image("a"))])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(root)
    before = bytes_of(tmp_path)
    with pytest.raises(ConfigError, match=r"is inside .*, where nothing is written; name"):
        finish(source, place(root), PrepareOptions(workers=1), root=root)
    assert bytes_of(tmp_path) == before


def test_a_folder_that_begins_with_the_name_of_the_root_lies_beside_it(tmp_path: Path) -> None:
    source = candidates(tmp_path / "root", [a_study("s", an_image("a"))])
    finish(source, tmp_path / "root-out", PrepareOptions(workers=1), root=tmp_path / "root")
    assert len(StudySet.load(tmp_path / "root-out")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"budget": PixelBudget(min_pixels=1, max_pixels=784)},
        {"budget": replace(SMALL_BUDGET, multiple_of=32)},
        {"inclusion": Inclusion(max_images=1)},
    ],
)
def test_other_options_do_not_continue_a_preparation(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    source = candidates(tmp_path / "root", [a_study("s", an_image("a"), an_image("b"))])
    options = PrepareOptions(budget=SMALL_BUDGET, workers=1)
    finish(source, tmp_path / "out", options)
    before = bytes_of(tmp_path / "out")
    with pytest.raises(ConfigError, match="of other images or options; give the same ones to cont"):
        finish(source, tmp_path / "out", replace(options, resume=True, **change))
    with pytest.raises(ConfigError, match="holds a preparation; add --resume to continue it, or"):
        finish(source, tmp_path / "out", options)
    assert bytes_of(tmp_path / "out") == before
    finish(source, tmp_path / "out", replace(options, resume=True))
    assert bytes_of(tmp_path / "out") == before


def test_rules_that_change_no_image_can_change(tmp_path: Path) -> None:
    studies = [a_study("s", an_image("a")), a_study("t", an_image("bad"), split=Split.TEST)]
    run(tmp_path, studies, Inclusion(require_images=False))
    run(tmp_path, studies, resume=True)
    assert shown(tmp_path) == {"s": ["a"]}
    files = read_prepared(tmp_path / "out")["files"]
    assert sorted([*files, "prepared.json"]) == sorted(bytes_of(tmp_path / "out"))


def test_an_earlier_preparation_is_replaced_on_request_alone(tmp_path: Path) -> None:
    run(tmp_path, [a_study("old", an_image("a"), split=Split.TEST)])
    run(tmp_path, [a_study("new", an_image("b"))], overwrite=True)
    assert shown(tmp_path) == {"new": ["b"]}
    assert not (tmp_path / "out" / "studies" / "test.arrow").exists()
    assert not (tmp_path / "out" / "unfinished.json").exists()


@pytest.mark.parametrize("more", [{}, {"resume": True}, {"overwrite": True}])
def test_files_of_somebody_else_stay_where_they_are(tmp_path: Path, more: dict[str, bool]) -> None:
    (tmp_path / "out" / "images").mkdir(parents=True)
    (tmp_path / "out" / "images" / "mine.png").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="out: holds other files; name another folder"):
        run(tmp_path, [a_study("s", an_image("a"))], **more)
    assert bytes_of(tmp_path / "out") == {"images/mine.png": b"mine"}


def test_a_set_can_be_moved(tmp_path: Path) -> None:
    run(tmp_path, [a_study("s", an_image("a"))])
    (tmp_path / "out").rename(tmp_path / "moved")
    for path in (tmp_path / "root").iterdir():
        path.unlink()
    moved = StudySet.load(tmp_path / "moved")
    assert moved.images.load(moved[0].images[0].image_id).size == (28, 28)
