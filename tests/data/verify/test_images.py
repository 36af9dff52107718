"""What `data check` finds in the image store: each rule is broken once in a set."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.arrow_files import read_arrow, write_arrow
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.verify import ProblemKind as Kind
from editgrpo.data.verify import verify
from editgrpo.data.verify.images import _is_of_budget
from tests.data.small_sets import (
    TINY,
    change_table,
    draw_images,
    reseal,
    small_studies,
    write_small_set,
)

SHARD, INDEX = "images/shard-00000.arrow", "images/index.arrow"


def kinds(folder: Path) -> list[Kind]:
    return [problem.kind for problem in verify(folder, workers=1).problems]


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


# From the end: 12 bytes of the closing chunk, 4 of the checksum of the pixels, the pixels.
@pytest.mark.parametrize("place", [-20, -13])
def test_an_image_that_does_not_decode_is_found(small_set: Path, place: int) -> None:
    content = bytearray(ImageStore.open(small_set).png("s4-front"))
    content[place] ^= 1
    change_png(small_set, "s4-front", bytes(content))
    (problem,) = verify(small_set, workers=1).problems
    assert (problem.kind, problem.file) == (Kind.IMAGE_DAMAGED, SHARD)
    assert "s4-front" in problem.message


def test_an_image_of_another_size_than_its_index_says_is_found(small_set: Path) -> None:
    # s4-front is the seventh of the sorted ids, an image of 28 x 28.
    change_png(small_set, "s4-front", png(28, 56))
    assert kinds(small_set) == [Kind.INDEX]


@pytest.mark.parametrize(
    ("height", "width", "mode"), [(30, 28, "L"), (84, 84, "L"), (28, 28, "RGBA")]
)
def test_an_image_outside_the_pixel_budget_is_found(
    small_set: Path, height: int, width: int, mode: str
) -> None:
    change_png(small_set, "s4-front", png(height, width, mode))

    def resize(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["image_id"] == "s4-front":
                row.update(height=height, width=width)

    change_table(small_set, INDEX, resize)
    assert kinds(small_set) == [Kind.IMAGE_SIZE]


@pytest.mark.slow
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


def test_an_index_that_points_to_another_image_is_found(small_set: Path) -> None:
    def swap(rows: list[dict[str, Any]]) -> None:
        rows[0]["image_id"], rows[2]["image_id"] = rows[2]["image_id"], rows[0]["image_id"]

    change_table(small_set, INDEX, swap)
    found = verify(small_set, workers=1).problems
    assert {problem.kind for problem in found} == {Kind.INDEX}
    assert len(found) == 2


def test_an_image_that_the_index_forgets_is_found(small_set: Path) -> None:
    change_table(small_set, INDEX, lambda rows: rows[1:])
    assert sorted(kinds(small_set)) == sorted(
        [*[Kind.IMAGE_ABSENT] * 2, Kind.INDEX]
    )  # s1 and s2 show it


def test_an_image_that_the_index_names_twice_is_found(small_set: Path) -> None:
    change_table(small_set, INDEX, lambda rows: [*rows, rows[0]])
    assert kinds(small_set) == [Kind.INDEX]


def test_a_shard_that_the_index_names_and_nobody_wrote_is_found(small_set: Path) -> None:
    def elsewhere(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["shard"] = 3

    change_table(small_set, INDEX, elsewhere)
    first, *others = verify(small_set, workers=1).problems
    assert first.kind is Kind.INDEX
    assert "names images/shard-00003.arrow, which is not there" in first.message
    # And none of the 14 images of the shard that is there is in it.
    assert [problem.kind for problem in others] == [Kind.INDEX] * 14


def test_an_index_with_another_id_is_found_from_both_sides(small_set: Path) -> None:
    change_table(small_set, INDEX, lambda rows: [rows[0] | {"image_id": "other"}, *rows[1:]])
    # s1-front is missing for s1 and s2, no shard holds "other", and none of the index is s1-front.
    assert sorted(kinds(small_set)) == sorted([*[Kind.IMAGE_ABSENT] * 2, *[Kind.INDEX] * 2])


def with_wild_offsets(folder: Path, name: str) -> None:
    """Make the first text of an Arrow file end far behind all texts, and the second begin there."""
    table = read_arrow(folder / name)
    position = table.schema.get_field_index("image_id")
    ids = table.column(position).combine_chunks()
    offsets = np.frombuffer(ids.buffers()[1], np.int32).copy()
    offsets[1] = 1 << 30
    wild = pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets), ids.buffers()[2])
    write_arrow(folder / name, table.set_column(position, table.schema.field(position), wild))
    reseal(folder, name)


@pytest.mark.parametrize(("name", "kind"), [(INDEX, Kind.INDEX), (SHARD, Kind.IMAGE_DAMAGED)])
def test_offsets_that_lead_out_of_a_file_are_reported_and_not_followed(
    small_set: Path, name: str, kind: Kind
) -> None:
    with_wild_offsets(small_set, name)
    (problem,) = verify(small_set, workers=1).problems
    assert (problem.kind, problem.file) == (kind, name)


def test_a_shard_without_ids_is_found(small_set: Path) -> None:
    change_table(small_set, SHARD, lambda rows: [row | {"image_id": None} for row in rows])
    (problem,) = verify(small_set, workers=1).problems
    assert (problem.kind, problem.file) == (Kind.IMAGE_DAMAGED, SHARD)
    assert "none of its 14 images can be read" in problem.message


def test_the_same_picture_in_two_splits_is_a_warning_once(tmp_path: Path) -> None:
    studies = small_studies()
    ids = sorted({image.image_id for study in studies for image in study.images})
    originals = draw_images(tmp_path / "originals", ids)
    originals["s5-front"] = originals["s7-front"] = originals["s1-front"]
    found = verify(write_small_set(tmp_path, studies=studies, originals=originals), workers=1)
    (problem,) = found.problems
    assert (problem.kind, problem.study_id) == (Kind.SAME_IMAGE_IN_TWO_SPLITS, "s5")
    assert found.ok


def test_a_set_whose_preparation_left_out_images_has_no_problem(tmp_path: Path) -> None:
    """The prior images of a study that is left out stay in the store, which nobody minds."""
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
    assert kinds(folder) == []
    assert "s5-front" in ImageStore.open(folder)
