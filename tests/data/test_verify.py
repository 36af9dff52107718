"""What `data check` finds in files and studies: each rule is broken once in a set."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from editgrpo.data.arrow_files import write_arrow
from editgrpo.data.phantom import Site, write_phantom
from editgrpo.data.prepare import Candidates, Inclusion, PrepareOptions, finish
from editgrpo.data.problems import ProblemKind as Kind
from editgrpo.data.study import Split
from editgrpo.data.verify import verify
from editgrpo.errors import ConfigError, DataError
from tests.data.small_sets import (
    change_study,
    change_table,
    reseal,
    shown_images,
    small_studies,
    write_small_set,
)

TRAIN, VALIDATION, TEST = (f"studies/{split.value}.arrow" for split in Split)
SHARD, INDEX = "images/shard-00000.arrow", "images/index.arrow"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("written"))


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of the set, free to be damaged."""
    return Path(shutil.copytree(written, tmp_path / "set"))


def kinds(folder: Path) -> list[Kind]:
    return [problem.kind for problem in verify(folder, workers=1).problems]


def move(folder: Path, study_id: str, source: str, target: str) -> None:
    """Move a study to the table of another split, as if its split had been drawn so."""
    taken: list[dict[str, Any]] = []

    def take(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        taken.extend(row for row in rows if row["study_id"] == study_id)
        return [row for row in rows if row["study_id"] != study_id]

    change_table(folder, source, take)
    split = Path(target).stem
    change_table(folder, target, lambda rows: [*rows, *(row | {"split": split} for row in taken)])


def test_a_set_as_it_was_written_has_no_problem(folder: Path) -> None:
    found = verify(folder, workers=1)
    assert found.problems == ()
    assert found.ok
    # Three tables, a shard, its index, the card and the list of what was left out.
    assert (found.studies, found.images, found.files) == (7, 14, 7)


def test_a_phantom_set_has_no_problem(tmp_path: Path) -> None:
    write_phantom(tmp_path / "set", studies=12, site=Site.A, seed=0, size_px=64)
    found = verify(tmp_path / "set", workers=1)
    assert found.problems == ()
    assert found.studies == 12


# Each entry: what is done to the set, what is found, and the study it is found at.
PLANTED: dict[str, tuple[Callable[[Path], None], Kind, str]] = {
    "a patient in two splits": (
        lambda folder: change_study(folder, "s7", patient_id="p2"),
        Kind.PATIENT_IN_TWO_SPLITS,
        "s7",
    ),
    "a study moved to another split": (
        lambda folder: move(folder, "s6", VALIDATION, TEST),
        Kind.PATIENT_IN_TWO_SPLITS,
        "s6",
    ),
    "a study in two splits": (
        lambda folder: change_study(folder, "s7", study_id="s4"),
        Kind.STUDY_TWICE,
        "s4",
    ),
    "a split that is not the table's": (
        lambda folder: change_study(folder, "s7", split="train"),
        Kind.VALUE,
        "s7",
    ),
    "a view that is none": (
        lambda folder: change_study(
            folder, "s7", images=[row | {"view": "front"} for row in shown_images("s7-front")]
        ),
        Kind.VALUE,
        "s7",
    ),
    "an empty patient": (
        lambda folder: change_study(folder, "s7", patient_id=" "),
        Kind.VALUE,
        "s7",
    ),
    "a time that is none": (
        lambda folder: change_study(folder, "s7", time="last week"),
        Kind.TIME,
        "s7",
    ),
    "a number among dates": (
        lambda folder: change_study(folder, "s7", time="12"),
        Kind.TIME,
        "s7",
    ),
    "a study that has its own future as prior": (
        lambda folder: change_study(
            folder,
            "s2",
            prior_study_id="s3",
            prior_time="2150-02-01",
            images=shown_images("s2-front", "s2-side", prior=("s3-front", "s3-side")),
        ),
        Kind.PRIOR_NOT_EARLIER,
        "s2",
    ),
    "a prior at the same time": (
        lambda folder: change_study(folder, "s6", time="2151-01-01"),
        Kind.PRIOR_NOT_EARLIER,
        "s6",
    ),
    "a prior that is not in the set, and later": (
        lambda folder: change_study(
            folder, "s2", prior_study_id="s0", prior_time="2150-01-04", images=shown_images()
        ),
        Kind.PRIOR_NOT_EARLIER,
        "s2",
    ),
    "a study that is its own prior": (
        lambda folder: change_study(
            folder, "s7", prior_study_id="s7", images=shown_images("s7-front", "s7-side")
        ),
        Kind.PRIOR_NOT_EARLIER,
        "s7",
    ),
    "prior images of another study than the named one": (
        lambda folder: change_study(
            folder, "s3", images=shown_images("s3-front", "s3-side", prior=("s1-front",))
        ),
        Kind.PRIOR_IMAGE,
        "s3",
    ),
    "prior images of a later study, under the name of an earlier one": (
        lambda folder: change_study(
            folder, "s2", images=shown_images("s2-front", "s2-side", prior=("s3-front",))
        ),
        Kind.PRIOR_IMAGE,
        "s2",
    ),
    "a prior of another patient": (
        lambda folder: change_study(
            folder,
            "s3",
            prior_study_id="s4",
            prior_time="2149-05-05",
            images=shown_images("s3-front", "s3-side", prior=("s4-front",)),
        ),
        Kind.PRIOR_OF_OTHER_PATIENT,
        "s3",
    ),
    "a prior with another time": (
        lambda folder: change_study(folder, "s3", prior_time="2150-01-02"),
        Kind.PRIOR_TIME,
        "s3",
    ),
    "prior images of no named study": (
        lambda folder: change_study(
            folder,
            "s6",
            prior_study_id="",
            prior_time="",
            images=shown_images("s6-front", "s6-side", prior=("s5-front",)),
        ),
        Kind.PRIOR_UNNAMED,
        "s6",
    ),
    "one image current and prior": (
        lambda folder: change_study(
            folder, "s6", images=shown_images("s6-front", "s6-side", prior=("s6-side",))
        ),
        Kind.IMAGE_TWICE,
        "s6",
    ),
}


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_violation_is_found_and_nothing_else(folder: Path, case: str) -> None:
    plant, kind, study_id = PLANTED[case]
    plant(folder)
    problems = verify(folder, workers=1).failures
    # A prior image that is the study's own current one is of another study than its prior, too.
    accompanying = {Kind.PRIOR_IMAGE} if kind is Kind.IMAGE_TWICE else set()
    assert {problem.kind for problem in problems} - accompanying == {kind}
    assert {problem.study_id for problem in problems} == {study_id}
    assert all(study_id in str(problem) and "\n" not in str(problem) for problem in problems)


def test_an_image_current_in_two_studies_is_found(folder: Path) -> None:
    change_study(folder, "s4", images=shown_images("s4-front", "s4-side", "s7-front"))
    found = verify(folder, workers=1)
    (failure,) = found.failures
    assert (failure.kind, failure.study_id) == (Kind.IMAGE_OF_TWO_STUDIES, "s7")
    # And as it is shown in two splits, as a picture of both.
    assert [warning.kind for warning in found.warnings] == [Kind.SAME_IMAGE_IN_TWO_SPLITS]


def test_two_studies_without_times_that_are_priors_of_each_other_are_found(folder: Path) -> None:
    for study_id, prior in (("s5", "s6"), ("s6", "s5")):
        change_study(
            folder,
            study_id,
            time="",
            prior_time="",
            prior_study_id=prior,
            images=shown_images(f"{study_id}-front", f"{study_id}-side", prior=(f"{prior}-front",)),
        )
    assert kinds(folder) == [Kind.PRIOR_NOT_EARLIER] * 2


def test_an_image_of_a_prior_outside_the_set_belongs_to_one_study_of_one_patient(
    folder: Path,
) -> None:
    def lose(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["study_id"] not in ("s1", "s2")]

    change_table(folder, TRAIN, lose)
    assert not verify(folder, workers=1).failures  # s3 still shows images of s2, which is not kept
    change_study(
        folder,
        "s6",
        prior_study_id="s2",
        prior_time="2150-01-03",
        images=shown_images("s6-front", "s6-side", prior=("s2-front",)),
    )
    (failure,) = verify(folder, workers=1).failures
    assert (failure.kind, failure.study_id) == (Kind.PRIOR_IMAGE, "s6")


def test_a_study_may_show_more_images_of_its_prior_than_the_prior_shows_itself(
    folder: Path,
) -> None:
    change_study(folder, "s5", images=shown_images("s5-front"))
    assert kinds(folder) == []


def test_missing_values_are_found(folder: Path) -> None:
    change_study(folder, "s7", findings=None)
    (problem,) = verify(folder, workers=1).problems
    assert problem.kind is Kind.VALUE
    assert "findings" in problem.message


@pytest.mark.parametrize("name", [TRAIN, SHARD, INDEX, "README.md"])
def test_a_changed_byte_is_found_in_every_file(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    problems = verify(folder, workers=1).problems
    assert problems[0].kind is Kind.FILE_CHANGED
    assert {problem.file for problem in problems} <= {name, INDEX}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from([TRAIN, SHARD, INDEX]),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_anywhere_is_reported_and_never_crashes(
    written: Path, tmp_path: Path, name: str, place: float, bit: int
) -> None:
    folder = tmp_path / "flipped"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(written, folder)
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (folder / name).write_bytes(content)
    assert Kind.FILE_CHANGED in kinds(folder)


@pytest.mark.parametrize("name", [TRAIN, TEST, SHARD, INDEX, "README.md"])
def test_a_missing_file_is_found_and_only_that(folder: Path, name: str) -> None:
    (folder / name).unlink()
    problems = verify(folder, workers=1).failures
    # s7 stands in the table of the test split alone; nobody refers to it.
    assert [(problem.kind, problem.file) for problem in problems] == [(Kind.FILE_MISSING, name)]


def test_a_missing_table_makes_no_image_unused(folder: Path) -> None:
    (folder / TEST).unlink()
    assert verify(folder, workers=1).warnings == ()


def test_a_file_among_the_tables_or_images_is_a_failure_and_elsewhere_a_warning(
    folder: Path,
) -> None:
    shutil.copy(folder / SHARD, folder / "images/shard-00001.arrow")
    (folder / "notes.txt").write_text("mine")
    found = verify(folder, workers=1)
    assert [problem.file for problem in found.failures] == ["images/shard-00001.arrow"]
    assert [problem.file for problem in found.warnings] == ["notes.txt"]
    assert set(found.counts()) == {Kind.FILE_EXTRA}


def test_a_table_of_another_kind_is_found(folder: Path) -> None:
    write_arrow(folder / TEST, pa.table({"study_id": ["s7"]}))
    reseal(folder, TEST)
    (problem,) = verify(folder, workers=1).failures
    assert (problem.kind, problem.file) == (Kind.TABLE_DAMAGED, TEST)


def test_an_image_that_is_not_in_the_store_is_found(folder: Path) -> None:
    change_study(folder, "s7", images=shown_images("s7-front", "s7-side", "s7-more"))
    (problem,) = verify(folder, workers=1).problems
    assert (problem.kind, problem.study_id) == (Kind.IMAGE_ABSENT, "s7")
    assert "s7-more" in problem.message


def test_an_image_that_no_study_shows_is_a_warning(folder: Path) -> None:
    change_study(folder, "s7", images=shown_images("s7-front"))
    found = verify(folder, workers=1)
    assert [problem.kind for problem in found.problems] == [Kind.IMAGE_UNUSED]
    assert found.ok


def test_a_set_without_images_is_checked_too(tmp_path: Path) -> None:
    studies = [replace(s, images=(), prior_study_id="", prior_time="") for s in small_studies()]
    candidates = Candidates(
        dataset="iu-xray", studies=studies, image_files={}, split_rule="by hand"
    )
    options = PrepareOptions(inclusion=Inclusion(require_images=False), workers=1)
    finish(candidates, tmp_path / "set", options)
    assert verify(tmp_path / "set", workers=1).problems == ()


def test_processes_find_what_one_finds(folder: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    change_study(folder, "s7", images=shown_images("s7-front"))
    alone = verify(folder, workers=1, progress=lambda *step: steps.append(step))
    assert verify(folder, workers=2) == alone
    assert ("Decoding images", 14, 14) in steps


def test_a_folder_that_is_no_prepared_set_is_an_error(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="give a folder written by"):
        verify(tmp_path)
    prepared = json.loads((folder / "prepared.json").read_text())
    prepared["budget"] = {"pixels": 5}
    (folder / "prepared.json").write_text(json.dumps(prepared))
    with pytest.raises(DataError, match="does not say what the set should hold"):
        verify(folder)
    with pytest.raises(ConfigError, match="at least 1"):
        verify(folder, workers=0)
