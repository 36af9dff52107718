"""What `data check` finds in the tables of studies: each rule is broken once in a set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editgrpo.data.study import Split
from editgrpo.data.verify import ProblemKind as Kind
from editgrpo.data.verify import verify
from tests.data.small_sets import (
    change_study,
    change_table,
    shown_images,
)

TRAIN, VALIDATION, TEST = (f"studies/{split.value}.arrow" for split in Split)
SHARD, INDEX = "images/shard-00000.arrow", "images/index.arrow"


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
    "a prior of the study's day, at a time that nobody knows": (
        lambda folder: change_study(
            folder, "s2", prior_study_id="s0", prior_time="2150-01-03", images=shown_images()
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


@pytest.mark.slow
@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_violation_is_found_and_nothing_else(small_set: Path, case: str) -> None:
    plant, kind, study_id = PLANTED[case]
    plant(small_set)
    problems = verify(small_set, workers=1).failures
    # A prior image that is the study's own current one is of another study than its prior, too.
    accompanying = {Kind.PRIOR_IMAGE} if kind is Kind.IMAGE_TWICE else set()
    assert {problem.kind for problem in problems} - accompanying == {kind}
    assert {problem.study_id for problem in problems} == {study_id}
    assert all(study_id in str(problem) and "\n" not in str(problem) for problem in problems)


def test_an_image_current_in_two_studies_is_found(small_set: Path) -> None:
    change_study(small_set, "s4", images=shown_images("s4-front", "s4-side", "s7-front"))
    found = verify(small_set, workers=1)
    (failure,) = found.failures
    assert (failure.kind, failure.study_id) == (Kind.IMAGE_OF_TWO_STUDIES, "s7")
    # And as it is shown in two splits, as a picture of both.
    assert [warning.kind for warning in found.warnings] == [Kind.SAME_IMAGE_IN_TWO_SPLITS]


def test_a_later_prior_is_found_though_another_time_is_named(small_set: Path) -> None:
    change_study(
        small_set,
        "s2",
        prior_study_id="s3",
        prior_time="2150-01-01",
        images=shown_images("s2-front", "s2-side", prior=("s3-front", "s3-side")),
    )
    assert kinds(small_set) == [Kind.PRIOR_TIME, Kind.PRIOR_NOT_EARLIER]


def test_two_studies_without_times_that_are_priors_of_each_other_are_found(small_set: Path) -> None:
    for study_id, prior in (("s5", "s6"), ("s6", "s5")):
        change_study(
            small_set,
            study_id,
            time="",
            prior_time="",
            prior_study_id=prior,
            images=shown_images(f"{study_id}-front", f"{study_id}-side", prior=(f"{prior}-front",)),
        )
    assert kinds(small_set) == [Kind.PRIOR_NOT_EARLIER] * 2


def test_an_image_of_a_prior_outside_the_set_belongs_to_one_study_of_one_patient(
    small_set: Path,
) -> None:
    def lose(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["study_id"] not in ("s1", "s2")]

    change_table(small_set, TRAIN, lose)
    assert not verify(
        small_set, workers=1
    ).failures  # s3 still shows images of s2, which is not kept
    change_study(
        small_set,
        "s6",
        prior_study_id="s2",
        prior_time="2150-01-03",
        images=shown_images("s6-front", "s6-side", prior=("s2-front",)),
    )
    (failure,) = verify(small_set, workers=1).failures
    assert (failure.kind, failure.study_id) == (Kind.PRIOR_IMAGE, "s6")


def test_a_study_may_show_more_images_of_its_prior_than_the_prior_shows_itself(
    small_set: Path,
) -> None:
    change_study(small_set, "s5", images=shown_images("s5-front"))
    assert kinds(small_set) == []


def test_missing_values_are_found(small_set: Path) -> None:
    change_study(small_set, "s7", findings=None)
    (problem,) = verify(small_set, workers=1).problems
    assert problem.kind is Kind.VALUE
    assert "findings" in problem.message
