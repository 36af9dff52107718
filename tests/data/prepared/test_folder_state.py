import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared import folder_state
from editgrpo.data.prepared.image_jobs import ImageJob
from editgrpo.data.prepared.store import read_prepared
from editgrpo.data.study import Split, Study
from editgrpo.errors import ConfigError, DataError
from tests.builders import bytes_of
from tests.data import preparation

BUDGET = PixelBudget()
JOBS = [ImageJob(name, f"/data/root/{name}.png") for name in "abc"]


STUDY = Study(study_id="s", patient_id="p", split=Split.TRAIN, images=(), findings="Clear.")


def mark(
    jobs: list[ImageJob],
    budget: PixelBudget = BUDGET,
    root: str = "/data/root",
    study: Study = STUDY,
) -> str:
    return folder_state.fingerprint(jobs, budget, Path(root), [study])


@pytest.mark.parametrize(
    "change", [{"split": Split.TEST}, {"findings": "Clear"}, {"patient_id": "q"}, {"time": "1"}]
)
def test_other_studies_of_the_same_images_have_another_fingerprint(change: dict[str, Any]) -> None:
    assert mark(JOBS, study=replace(STUDY, **change)) != mark(JOBS)


def test_the_same_images_have_the_same_fingerprint() -> None:
    assert mark(JOBS) == mark(list(JOBS))
    assert re.fullmatch("[0-9a-f]{64}", mark(JOBS))


@pytest.mark.parametrize(
    "other",
    [
        JOBS[::-1],
        JOBS[:2],
        [*JOBS, ImageJob("d", "/data/root/d.png")],
        [replace(JOBS[0], image_id="z"), *JOBS[1:]],
        [replace(JOBS[0], path="/data/root/z.png"), *JOBS[1:]],
        [],
    ],
)
def test_other_images_have_another_fingerprint(other: list[ImageJob]) -> None:
    assert mark(other) != mark(JOBS)


@pytest.mark.parametrize("change", [{"min_pixels": 1}, {"max_pixels": 10**6}, {"multiple_of": 32}])
def test_another_budget_has_another_fingerprint(change: dict[str, int]) -> None:
    assert mark(JOBS, replace(BUDGET, **change)) != mark(JOBS)


@pytest.mark.parametrize("root", ["/mnt/else", "root", "../up"])
def test_the_originals_may_be_mounted_elsewhere(root: str) -> None:
    moved = [replace(job, path=job.path.replace("/data/root", root)) for job in JOBS]
    assert mark(moved, root=root) == mark(JOBS)


def test_a_path_that_is_no_utf_8_has_a_fingerprint() -> None:
    assert mark([ImageJob("a", "/data/root/\udcff.png")]) != mark([ImageJob("a", "/data/root/b")])


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    root = preparation.write_originals(tmp_path / "root")
    preparation.prepare(root, tmp_path / "set")
    return tmp_path / "set"


def test_the_account_lists_every_other_file_with_its_hash(prepared: Path) -> None:
    files = bytes_of(prepared)
    account = json.loads(files.pop("prepared.json"))
    assert account["files"] == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    assert set(account) == {
        *("form", "dataset", "split_rule", "budget", "fingerprint", "redaction", "flow", "files"),
    }
    assert account == read_prepared(prepared)


def test_the_account_says_how_the_set_was_made(prepared: Path) -> None:
    account = read_prepared(prepared)
    assert account["budget"] == {
        "min_pixels": preparation.BUDGET.min_pixels,
        "max_pixels": preparation.BUDGET.max_pixels,
        "multiple_of": 28,
    }
    assert (account["dataset"], account["split_rule"]) == ("folder", "as given")
    kept = {row["name"]: row for row in account["flow"]}["studies kept"]
    assert kept == {
        **{"name": "studies kept", "kind": "kept", "all": 5},
        **{"train": 3, "validation": 0, "test": 2, "unassigned": 0},
    }


def test_nothing_but_the_documented_entries_is_written(prepared: Path) -> None:
    assert {path.name for path in prepared.iterdir()} == set(folder_state.ENTRIES) - {
        "unfinished.json",
        "boxes.arrow",  # of a data set that has some
    }


def test_no_file_of_a_prepared_set_names_where_the_originals_are(prepared: Path) -> None:
    place = str(prepared.parent).encode()
    assert [name for name, content in bytes_of(prepared).items() if place in content] == []


@pytest.mark.parametrize("name", ["prepared.json", "unfinished.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"null"])
def test_a_damaged_mark_is_named_and_can_be_overwritten(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"{name}: is damaged; add --overwrite, or name another"):
        folder_state.begin(tmp_path, "mark", resume=True)
    folder_state.begin(tmp_path, "mark", resume=False, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["unfinished.json"]


def test_what_killed_writers_left_is_removed(prepared: Path, tmp_path: Path) -> None:
    before = bytes_of(prepared)
    for folder in ("", "images", "studies"):
        (prepared / folder / ".x.0123.partial.arrow").write_bytes(b"x")
    preparation.prepare(tmp_path / "root", prepared, resume=True)
    assert bytes_of(prepared) == before


def test_an_earlier_preparation_is_removed_and_nothing_else(prepared: Path) -> None:
    (prepared / "notes.txt").write_text("mine")
    folder_state.begin(prepared, "mark", resume=False, overwrite=True)
    assert sorted(bytes_of(prepared)) == ["notes.txt", "unfinished.json"]


def test_a_removal_that_was_killed_can_be_done_again(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(folder_state.shutil, "rmtree", kill)
        with pytest.raises(KeyboardInterrupt):
            folder_state.begin(prepared, "mark", resume=False, overwrite=True)
    with pytest.raises(DataError, match="was not finished"):
        read_prepared(prepared)
    with pytest.raises(ConfigError, match="of other images or options"):
        folder_state.begin(prepared, "mark", resume=True)
    folder_state.begin(prepared, "mark", resume=False, overwrite=True)
    assert sorted(bytes_of(prepared)) == ["unfinished.json"]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match=r"taken/set: cannot be written to \(.*\); choose another"):
        folder_state.begin(tmp_path / "taken" / "set", "mark", resume=False)


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match=r"taken: cannot be written to \(.*\); choose another"):
        folder_state.begin(tmp_path / "taken", "mark", resume=False)
