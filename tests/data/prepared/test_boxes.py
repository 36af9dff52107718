"""Boxes around findings: kept with PadChest-GR, shown to people, in no table of studies."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editgrpo.data import sources
from editgrpo.data.overview.contact_sheet import boxes_text, with_boxes
from editgrpo.data.overview.statistics import set_statistics
from editgrpo.data.padchest_gr import PadChestGRSource, read_padchest_gr
from editgrpo.data.prepare import PrepareOptions
from editgrpo.data.prepared.boxes import BOXES_FILE, Box, read_boxes, write_boxes
from editgrpo.data.prepared.store import StudySet, read_prepared
from editgrpo.data.redact import Redactor
from editgrpo.data.study import Language, Split
from editgrpo.data.verify import verify
from editgrpo.data.verify.problems import ProblemKind
from editgrpo.display.html.studies import StudyCatalogue
from editgrpo.errors import DataError
from tests.data.trees import padchest_gr as tree
from tests.data.trees.accounts import TINY

SENTENCE = "Slight pleural thickening."


def prepare(root: Path, output: Path, **changes: Any) -> Path:
    how = PrepareOptions(budget=TINY, workers=1, **changes)
    sources.prepare(PadChestGRSource(root=root), output, how)
    return output


def a_box(**changes: Any) -> Box:
    box = Box(
        study_id="s",
        image_id="i",
        sentence=SENTENCE,
        labels=("pleural thickening",),
        left=0.25,
        top=0.5,
        right=0.75,
        bottom=1.0,
    )
    return replace(box, **changes)


def test_the_boxes_of_what_is_kept_are_kept(tmp_path: Path) -> None:
    folder = prepare(tree.standard_tree(tmp_path / "gr"), tmp_path / "set")
    boxes = read_boxes(folder)
    # One box in each of 101 to 104 and 301; 106 and 302 are normal, 107 and 108 left out.
    assert {study: [box.image_id for box in found] for study, found in boxes.items()} == {
        study: [f"{study}_aaa"] for study in ("101", "102", "103", "104", "301")
    }
    (box,) = boxes["101"]
    assert (box.left, box.top, box.right, box.bottom) == (0.1, 0.05, 0.35, 0.15)
    assert (box.sentence, box.labels, box.is_extra) == (SENTENCE, ("pleural thickening",), False)
    assert BOXES_FILE in read_prepared(folder)["files"]
    assert "boxes.arrow" in (folder / "README.md").read_text()
    assert not verify(folder).failures
    statistics = set_statistics(StudySet.load(folder))
    train = statistics.splits[Split.TRAIN]
    assert (train.boxes, train.with_boxes, train.studies) == (4, 4, 5)
    assert statistics.splits[Split.VALIDATION].boxes == 0


def test_boxes_that_lie_in_no_image_are_counted(tmp_path: Path) -> None:
    finding = tree.abnormal("Thickening.", "Engrosamiento.") | {
        "boxes": [
            [0, 0, 1, 1],
            [0.5, 0, 0.4, 1],
            [0, 0, 1.2, 1],
            [0, 0, 1],
            "box",
            [True, 0, 1, 1],
        ],
        "extra_boxes": [[0.1, 0.2, 0.3, 0.4]],
    }
    root = tree.build(
        tmp_path,
        [tree.report("1", "1_a.png", finding)],
        [tree.row("1", "1_a.png", "train", "7", "20150601")],
    )
    read = read_padchest_gr(PadChestGRSource(root=root, language=Language.SPANISH))
    assert [(box.left, box.right, box.is_extra) for box in read.boxes] == [
        (0, 1, False), (0.1, 0.3, True),
    ]  # fmt: skip
    assert {box.sentence for box in read.boxes} == {"Engrosamiento."}
    assert read.facts["boxes that lie in no image, left out"] == {Split.TRAIN: 5}


def test_hidden_ids_are_hidden_in_boxes_too(tmp_path: Path) -> None:
    redactor = Redactor.from_key_file(tmp_path / "key", outside=[])
    folder = prepare(tree.standard_tree(tmp_path / "gr"), tmp_path / "set", redactor=redactor)
    boxes = read_boxes(folder)
    assert redactor.identifier("101") in boxes and "101" not in boxes
    studies = {study.study_id: study for study in StudySet.load(folder)}
    for study_id, found in boxes.items():
        shown = {image.image_id for image in studies[study_id].current_images}
        assert {box.image_id for box in found} <= shown


def test_a_set_without_boxes_has_no_file(tmp_path: Path) -> None:
    write_boxes(tmp_path, [a_box()])
    assert read_boxes(tmp_path) == {"s": (a_box(),)}
    write_boxes(tmp_path, [])
    assert not (tmp_path / BOXES_FILE).exists() and read_boxes(tmp_path) == {}
    (tmp_path / BOXES_FILE).write_bytes(b"no table")
    with pytest.raises(DataError, match=r"boxes\.arrow: is damaged"):
        read_boxes(tmp_path)


def test_a_box_of_no_image_is_found_by_the_check(tmp_path: Path) -> None:
    folder = prepare(tree.standard_tree(tmp_path / "gr"), tmp_path / "set")
    write_boxes(folder, [a_box(study_id="101", image_id="nowhere")])
    kinds = {problem.kind for problem in verify(folder).problems}
    assert {ProblemKind.BOX, ProblemKind.FILE_CHANGED} <= kinds


def test_a_box_is_drawn_where_it_lies() -> None:
    picture = Image.new("L", (401, 201), 0)
    drawn = np.asarray(with_boxes(picture, "i", [a_box(), a_box(image_id="other")]))
    # Left 0.25 of 400 is 100, right 300, top 0.5 of 200 is 100, bottom 200.
    is_line = (drawn == (0xFF, 0xB0, 0x00)).all(axis=2)
    assert is_line[150, 100] and is_line[150, 300] and is_line[100, 200] and is_line[200, 200]
    assert not is_line[:100].any() and not is_line[:, :100].any() and not is_line[:, 301:].any()
    assert with_boxes(picture, "without", [a_box()]) is picture
    assert boxes_text([a_box(), a_box(is_extra=True, labels=())]) == (
        f"Box 1: {SENTENCE} (pleural thickening)\nBox 2, extra box: {SENTENCE}"
    )


def test_the_report_page_gets_the_boxes_of_current_images(tmp_path: Path) -> None:
    folder = prepare(tree.standard_tree(tmp_path / "gr"), tmp_path / "set")
    catalogue = StudyCatalogue()
    key = catalogue.key("103", "", [folder])
    assert key is not None
    current, prior = catalogue.shown(key)["images"]
    assert current["boxes"] == [
        {
            "sides": [0.1, 0.05, 0.35, 0.15],
            "extra": False,
            "text": f"{SENTENCE} (pleural thickening)",
        }
    ]
    height, width = StudySet.load(folder).images.size("103_aaa")
    assert current["size"] == [width, height]
    # 101, its prior, has a box in its own study; here it is a prior image.
    assert "boxes" not in prior and json.dumps(current)
