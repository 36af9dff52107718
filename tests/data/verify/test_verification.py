"""What `data check` finds in files and studies: each rule is broken once in a set."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from editgrpo.data.prepare import Candidates, Inclusion, PrepareOptions, finish
from editgrpo.data.prepared.arrow_files import write_arrow
from editgrpo.data.study import Split
from editgrpo.data.verify import ProblemKind as Kind
from editgrpo.data.verify import verify
from editgrpo.errors import ConfigError, DataError
from editgrpo.phantom import Site, write_phantom
from tests.data.small_sets import (
    change_study,
    reseal,
    shown_images,
    small_studies,
)

TRAIN, VALIDATION, TEST = (f"studies/{split.value}.arrow" for split in Split)
SHARD, INDEX = "images/shard-00000.arrow", "images/index.arrow"


def kinds(folder: Path) -> list[Kind]:
    return [problem.kind for problem in verify(folder, workers=1).problems]


def test_a_set_as_it_was_written_has_no_problem(small_set: Path) -> None:
    found = verify(small_set, workers=1)
    assert found.problems == ()
    assert found.ok
    # Three tables, a shard, its index, the card and the list of what was left out.
    assert (found.studies, found.images, found.files) == (7, 14, 7)


def test_what_models_read_in_the_references_is_not_of_the_set(small_set: Path) -> None:
    (small_set / "annotations").mkdir()
    (small_set / "annotations" / "rate.sqlite").write_bytes(b"facts")
    assert kinds(small_set) == []


def test_a_phantom_set_has_no_problem(tmp_path: Path) -> None:
    write_phantom(tmp_path / "set", studies=12, site=Site.A, seed=0, size_px=64)
    found = verify(tmp_path / "set", workers=1)
    assert found.problems == ()
    assert found.studies == 12


@pytest.mark.parametrize("name", [TRAIN, SHARD, INDEX, "README.md"])
def test_a_changed_byte_is_found_in_every_file(small_set: Path, name: str) -> None:
    content = bytearray((small_set / name).read_bytes())
    content[len(content) // 2] ^= 1
    (small_set / name).write_bytes(content)
    problems = verify(small_set, workers=1).problems
    assert problems[0].kind is Kind.FILE_CHANGED
    assert {problem.file for problem in problems} <= {name, INDEX}


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([TRAIN, SHARD, INDEX]),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_anywhere_is_reported_and_never_crashes(
    written_set: Path, tmp_path: Path, name: str, place: float, bit: int
) -> None:
    folder = tmp_path / "flipped"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(written_set, folder)
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (folder / name).write_bytes(content)
    assert Kind.FILE_CHANGED in kinds(folder)


@pytest.mark.parametrize("name", [TRAIN, TEST, SHARD, INDEX, "README.md"])
def test_a_missing_file_is_found_and_only_that(small_set: Path, name: str) -> None:
    (small_set / name).unlink()
    problems = verify(small_set, workers=1).failures
    # s7 stands in the table of the test split alone; nobody refers to it.
    assert [(problem.kind, problem.file) for problem in problems] == [(Kind.FILE_MISSING, name)]


def test_a_file_among_the_tables_or_images_is_a_failure_and_elsewhere_a_warning(
    small_set: Path,
) -> None:
    shutil.copy(small_set / SHARD, small_set / "images/shard-00001.arrow")
    (small_set / "notes.txt").write_text("mine")
    found = verify(small_set, workers=1)
    assert [problem.file for problem in found.failures] == ["images/shard-00001.arrow"]
    assert [problem.file for problem in found.warnings] == ["notes.txt"]
    assert set(found.counts()) == {Kind.FILE_EXTRA}


@pytest.mark.parametrize("name", [".editgrpo.lock", "images/.shard-00000.arrow.lock"])
def test_a_lock_that_a_killed_command_left_is_no_file_of_a_set(small_set: Path, name: str) -> None:
    (small_set / name).write_text("process 1 on host\n")
    assert verify(small_set, workers=1).problems == ()


def test_a_table_of_another_kind_is_found(small_set: Path) -> None:
    write_arrow(small_set / TEST, pa.table({"study_id": ["s7"]}))
    reseal(small_set, TEST)
    (problem,) = verify(small_set, workers=1).failures
    assert (problem.kind, problem.file) == (Kind.TABLE_DAMAGED, TEST)


def test_an_image_that_is_not_in_the_store_is_found(small_set: Path) -> None:
    change_study(small_set, "s7", images=shown_images("s7-front", "s7-side", "s7-more"))
    (problem,) = verify(small_set, workers=1).problems
    assert (problem.kind, problem.study_id) == (Kind.IMAGE_ABSENT, "s7")
    assert "s7-more" in problem.message


def test_the_store_may_hold_an_image_that_no_study_shows(small_set: Path) -> None:
    change_study(small_set, "s7", images=shown_images("s7-front"))
    assert kinds(small_set) == []


def test_a_set_without_images_is_checked_too(tmp_path: Path) -> None:
    studies = [replace(s, images=(), prior_study_id="", prior_time="") for s in small_studies()]
    candidates = Candidates(
        dataset="iu-xray", studies=studies, image_files={}, split_rule="by hand"
    )
    options = PrepareOptions(inclusion=Inclusion(require_images=False), workers=1)
    finish(candidates, tmp_path / "set", options)
    assert verify(tmp_path / "set", workers=1).problems == ()


def test_processes_find_what_one_finds(small_set: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    change_study(small_set, "s7", images=shown_images("s7-front", "s7-more"))
    alone = verify(small_set, workers=1, progress=lambda *step: steps.append(step))
    assert verify(small_set, workers=2) == alone
    assert set(alone.counts()) == {Kind.IMAGE_ABSENT}
    assert ("Decoding images", 14, 14) in steps


def test_a_folder_that_is_no_prepared_set_is_an_error(tmp_path: Path, small_set: Path) -> None:
    with pytest.raises(DataError, match="give a folder written by"):
        verify(tmp_path)
    prepared = json.loads((small_set / "prepared.json").read_text())
    prepared["budget"] = {"pixels": 5}
    (small_set / "prepared.json").write_text(json.dumps(prepared))
    with pytest.raises(DataError, match="does not say what the set should hold"):
        verify(small_set)
    with pytest.raises(ConfigError, match="at least 1"):
        verify(small_set, workers=0)
