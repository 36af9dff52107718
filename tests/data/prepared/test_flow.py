import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.config import Target
from editgrpo.data.prepared.flow import Flow, FlowKind, make_flow, with_sections
from editgrpo.data.prepared.store import Rejection
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from tests.builders import REPOSITORY

IMAGE = StudyImage(image_id="i", view=View.PA)
PRIOR = StudyImage(image_id="j", view=View.LATERAL, timepoint=Timepoint.PRIOR)


def a_study(study_id: str, split: Split, *images: StudyImage, patient: str = "") -> Study:
    return Study(study_id=study_id, patient_id=patient or study_id, split=split, images=images)


def left_out(reason: str, split: Split | None, image: str | None = None) -> Rejection:
    return Rejection(study_id="x", image=image, reason=reason, split=split)


def flow_of(kept: list[Study], rejections: list[Rejection]) -> Flow:
    return make_flow(kept=kept, rejections=rejections, facts={}, cut={})


splits = st.sampled_from(list(Split))
rejections = st.builds(
    left_out,
    reason=st.sampled_from(["no findings", "no report", "more than 6 images"]),
    split=st.none() | splits,
    image=st.none() | st.just("i"),
)


@pytest.mark.slow
@given(kept=st.lists(splits, max_size=20), rejected=st.lists(rejections, max_size=40))
def test_seen_is_kept_and_left_out_in_every_column(
    kept: list[Split], rejected: list[Rejection]
) -> None:
    flow = flow_of([a_study(f"s{k}", split) for k, split in enumerate(kept)], rejected)
    rows = [row for row in flow.record() if row["kind"] in ("kept", "left out")]
    (seen,) = (row for row in flow.record() if row["kind"] == "seen")
    columns = ("train", "validation", "test", "unassigned", "all")
    assert [seen[c] for c in columns] == [sum(row[c] for row in rows) for c in columns]
    assert all(sum(row[c] for c in columns[:-1]) == row["all"] for row in rows)
    whole = sum(rejection.image is None for rejection in rejected)
    assert seen["all"] == len(kept) + whole


def test_each_reason_is_a_row_with_its_count_by_split() -> None:
    flow = flow_of(
        [a_study("a", Split.TRAIN, IMAGE)],
        [
            left_out("no report", None),
            left_out("no findings", Split.TEST),
            left_out("no findings", Split.TRAIN),
            left_out("no findings", Split.TEST),
        ],
    )
    assert flow.row("no findings").counts == {Split.TEST: 2, Split.TRAIN: 1}
    assert flow.row("no report").counts == {None: 1}
    assert flow.row("studies in the source").total == 5
    with pytest.raises(KeyError):
        flow.row("no impression")


def test_images_left_out_are_counted_apart_from_studies() -> None:
    flow = flow_of([a_study("a", Split.TRAIN, IMAGE)], [left_out("is truncated", Split.TRAIN, "i")])
    row = flow.row("images not shown: is truncated")
    assert (row.kind, row.counts) == (FlowKind.OF_KEPT, {Split.TRAIN: 1})
    assert flow.row("studies in the source").total == 1


def test_what_is_kept_is_counted_by_patient_prior_and_view() -> None:
    flow = flow_of(
        [
            a_study("a", Split.TRAIN, IMAGE, PRIOR, patient="p"),
            a_study("b", Split.TRAIN, IMAGE, patient="p"),
            a_study("c", Split.TEST, patient="q"),
        ],
        [],
    )
    assert flow.row("patients").counts == {Split.TRAIN: 1, Split.TEST: 1}
    assert +Counter(flow.row("studies with prior images").counts) == {Split.TRAIN: 1}
    assert flow.row("images shown, prior ones included").total == 3
    assert flow.row("PA images").counts == {Split.TRAIN: 2}
    assert flow.row("lateral images").counts == {Split.TRAIN: 1}
    assert "AP images" not in [row.name for row in flow.rows]


def test_rows_stand_from_source_to_kept() -> None:
    flow = make_flow(
        kept=[a_study("a", Split.TRAIN, IMAGE)],
        rejections=[left_out("no report", None)],
        facts={"with findings": Counter({Split.TRAIN: 1})},
        cut=Counter({Split.TRAIN: 1}),
    )
    kinds = [row.kind for row in flow.rows]
    assert kinds == sorted(kinds, key=list(FlowKind).index)
    assert flow.row("with findings").kind is FlowKind.FACT
    assert flow.row("studies with more images than are shown").counts == {Split.TRAIN: 1}


def test_the_record_names_every_column() -> None:
    flow = flow_of([a_study("a", Split.VALIDATION)], [left_out("no report", None)])
    assert flow.record()[0] == {
        "name": "studies in the source",
        "kind": "seen",
        "train": 0,
        "validation": 1,
        "test": 0,
        "unassigned": 1,
        "all": 2,
    }


def test_studies_are_counted_by_the_sections_that_they_have() -> None:
    """Two with both sections, one with each alone, one with none."""
    bare = a_study("1", Split.TRAIN)
    both = replace(bare, findings="Clear.", impression="Normal.")
    studies = [
        both,
        replace(both, split=Split.TEST),
        replace(both, impression=""),
        replace(both, findings=""),
        bare,
    ]
    assert with_sections(studies) == {
        "with findings": {Split.TRAIN: 2, Split.TEST: 1},
        "with impression": {Split.TRAIN: 2, Split.TEST: 1},
        "with findings and impression": {Split.TRAIN: 1, Split.TEST: 1},
    }
    assert list(with_sections(studies, Target.IMPRESSION)) == ["with impression"]


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "src/editgrpo/data").glob("*/preparation.py"))
)
def test_no_source_counts_sections_by_itself(path: Path) -> None:
    assert not re.search(r'"with (findings|impression)', path.read_text("utf-8"))
