"""What `data check` finds: each rule is broken once in a set that the library wrote."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from editgrpo.data.arrow_files import read_arrow, write_arrow
from editgrpo.data.image_store import ImageStore
from editgrpo.data.prepare import Candidates, Inclusion, PrepareOptions, finish
from editgrpo.data.problems import ProblemKind as Kind
from editgrpo.data.resize import PixelBudget
from editgrpo.data.study import Split
from editgrpo.data.verify import verify
from editgrpo.data.verify_images import _is_of_budget
from editgrpo.errors import ConfigError, DataError
from tests.data.small_sets import (
    TINY,
    change_study,
    change_table,
    draw_images,
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


def change_png(folder: Path, image_id: str, content: bytes) -> None:
    """Write other bytes into the shard, and an index that agrees with it."""

    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["image_id"] == image_id:
                row["image"] = {"bytes": content, "path": None}

    change_table(folder, SHARD, change)
    shard, store = (folder / SHARD).read_bytes(), ImageStore.open(folder)

    def move_entries(rows: list[dict[str, Any]]) -> None:
        pngs = {
            row["image_id"]: row["image"]["bytes"] for row in read_arrow(folder / SHARD).to_pylist()
        }
        for row in rows:
            png = pngs[row["image_id"]]
            row.update(offset=shard.index(png), length=len(png))

    assert len(store) == 14
    change_table(folder, INDEX, move_entries)


def png(height: int, width: int, mode: str = "L") -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((height, width), 7, np.uint8)).convert(mode).save(content, "PNG")
    return content.getvalue()


def test_an_image_that_does_not_decode_is_found(folder: Path) -> None:
    content = bytearray(ImageStore.open(folder).png("s4-front"))
    content[-20] ^= 1  # in the last bytes of the compressed pixels or their checksum
    change_png(folder, "s4-front", bytes(content))
    (problem,) = verify(folder, workers=1).problems
    assert (problem.kind, problem.file) == (Kind.IMAGE_DAMAGED, SHARD)
    assert "s4-front" in problem.message


def test_an_image_of_another_size_than_its_index_says_is_found(folder: Path) -> None:
    # s4-front is the seventh of the sorted ids, an image of 28 x 28.
    change_png(folder, "s4-front", png(28, 56))
    assert kinds(folder) == [Kind.INDEX]


@pytest.mark.parametrize(
    ("height", "width", "mode"), [(30, 28, "L"), (84, 84, "L"), (28, 28, "RGBA")]
)
def test_an_image_outside_the_pixel_budget_is_found(
    folder: Path, height: int, width: int, mode: str
) -> None:
    change_png(folder, "s4-front", png(height, width, mode))

    def resize(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["image_id"] == "s4-front":
                row.update(height=height, width=width)

    change_table(folder, INDEX, resize)
    assert kinds(folder) == [Kind.IMAGE_SIZE]


@settings(max_examples=300)
@given(
    height=st.integers(1, 6_000),
    width=st.integers(1, 6_000),
    budget=st.sampled_from([PixelBudget(), TINY, PixelBudget(min_pixels=3_000, max_pixels=3_200)]),
)
def test_no_size_that_an_image_may_be_given_is_refused(
    height: int, width: int, budget: PixelBudget
) -> None:
    if max(height, width) <= 200 * min(height, width):
        assert _is_of_budget(*budget.size(height, width), budget)


def test_an_index_that_points_to_another_image_is_found(folder: Path) -> None:
    def swap(rows: list[dict[str, Any]]) -> None:
        rows[0]["image_id"], rows[2]["image_id"] = rows[2]["image_id"], rows[0]["image_id"]

    change_table(folder, INDEX, swap)
    found = verify(folder, workers=1).problems
    assert {problem.kind for problem in found} == {Kind.INDEX}
    assert len(found) == 2


def test_an_image_that_the_index_forgets_is_found(folder: Path) -> None:
    change_table(folder, INDEX, lambda rows: rows[1:])
    assert sorted(kinds(folder)) == sorted(
        [*[Kind.IMAGE_ABSENT] * 2, Kind.INDEX]
    )  # s1 and s2 show it


def test_an_image_that_the_index_names_twice_is_found(folder: Path) -> None:
    change_table(folder, INDEX, lambda rows: [*rows, rows[0]])
    assert kinds(folder) == [Kind.INDEX]


def test_a_shard_that_the_index_names_and_nobody_wrote_is_found(folder: Path) -> None:
    def elsewhere(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["shard"] = 3

    change_table(folder, INDEX, elsewhere)
    assert set(kinds(folder)) == {Kind.INDEX}


def test_the_same_picture_in_two_splits_is_a_warning_once(tmp_path: Path) -> None:
    studies = small_studies()
    ids = sorted({image.image_id for study in studies for image in study.images})
    originals = draw_images(tmp_path / "originals", ids)
    originals["s7-front"] = originals["s1-front"]
    found = verify(write_small_set(tmp_path, studies=studies, originals=originals), workers=1)
    (problem,) = found.problems
    assert (problem.kind, problem.study_id) == (Kind.SAME_IMAGE_IN_TWO_SPLITS, "s7")
    assert found.ok


def test_a_set_whose_preparation_left_out_images_has_no_failure(tmp_path: Path) -> None:
    """The prior image of a study that is left out stays in the store: a warning."""
    studies = small_studies()
    (with_bad_image,) = [study for study in studies if study.study_id == "s6"]
    originals = draw_images(
        tmp_path / "originals",
        sorted({image.image_id for study in studies for image in study.images}),
    )
    for image in with_bad_image.current_images:
        Path(originals[image.image_id]).write_bytes(b"")
    without_s5 = [study for study in studies if study.study_id != "s5"]
    folder = write_small_set(tmp_path, studies=without_s5, originals=originals)
    found = verify(folder, workers=1)
    assert found.ok
    assert [warning.kind for warning in found.warnings] == [Kind.IMAGE_UNUSED] * 2


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
