import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editgrpo.data.flow import FlowKind
from editgrpo.data.prepare import (
    Candidates,
    Inclusion,
    PrepareOptions,
    PrepareSummary,
    finish,
)
from editgrpo.data.redact import Redactor
from editgrpo.data.resize import PixelBudget
from editgrpo.data.store import Rejection, StudySet, read_prepared
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import ConfigError, DataError
from tests.builders import SMALL_BUDGET, bytes_of, noise
from tests.data import preparation
from tests.data.test_image_jobs import FAULTS

PA, LATERAL, OTHER = View.PA, View.LATERAL, View.OTHER


def an_image(name: str, view: View = PA) -> StudyImage:
    return StudyImage(image_id=name, view=view)


def a_prior(name: str, view: View = PA) -> StudyImage:
    return StudyImage(image_id=name, view=view, timepoint=Timepoint.PRIOR)


def a_study(study_id: str, *images: StudyImage, **fields: Any) -> Study:
    prior = {"prior_study_id": "before", "prior_time": "1"}
    has_prior = any(image.timepoint is Timepoint.PRIOR for image in images)
    values: dict[str, Any] = {
        "patient_id": study_id,
        "split": Split.TRAIN,
        "time": "2",
        "findings": "Clear.",
        **(prior if has_prior else {}),
        **fields,
    }
    return Study(study_id=study_id, images=images, **values)


def candidates(root: Path, studies: Sequence[Study], **more: Any) -> Candidates:
    """Draw the images of some studies; those whose id begins with `bad` cannot be read."""
    root.mkdir(exist_ok=True)
    names = {image.image_id for study in studies for image in study.images}
    for k, name in enumerate(sorted(names)):
        noise(40, 40, seed=k).save(root / f"{name}.png")
        if name.startswith("bad"):
            (root / f"{name}.png").write_bytes(FAULTS["half a PNG"])
        if name.startswith("absent"):
            (root / f"{name}.png").unlink()
    return Candidates(
        dataset="folder",
        studies=list(studies),
        image_files={name: str(root / f"{name}.png") for name in names},
        split_rule="as given",
        **more,
    )


def run(
    tmp_path: Path, studies: Sequence[Study], inclusion: Inclusion | None = None, **more: Any
) -> PrepareSummary:
    options = PrepareOptions(
        inclusion=inclusion or Inclusion(), budget=SMALL_BUDGET, workers=1, **more
    )
    root = tmp_path / "root"
    return finish(candidates(root, studies), tmp_path / "out", options, root=root)


def rejected(tmp_path: Path) -> list[tuple[str, str | None]]:
    """Return study and image of everything that was left out."""
    lines = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    return [(line["study_id"], line["image"]) for line in map(json.loads, lines)]


def left_out(summary: PrepareSummary) -> dict[str, int]:
    return {row.name: row.total for row in summary.flow.rows if row.kind is FlowKind.LEFT_OUT}


def shown(tmp_path: Path) -> dict[str, list[str]]:
    return {
        study.study_id: [image.image_id for image in study.images]
        for study in StudySet.load(tmp_path / "out")
    }


def test_each_study_left_out_is_counted_and_listed_with_its_reason(tmp_path: Path) -> None:
    studies = [
        a_study("good", an_image("a")),
        a_study("silent", an_image("b"), findings=""),
        a_study("short", an_image("c"), findings="", impression="Normal."),
        a_study("imageless"),
        a_study("lost", an_image("absent")),
        a_study("broken", an_image("bad")),
    ]
    summary = run(tmp_path, studies)
    assert left_out(summary) == {
        "no findings": 1,
        "no findings, impression only": 1,
        "no image listed": 1,
        "no readable current image": 2,
    }
    assert summary.flow.row("studies in the source").total == 6
    assert summary.flow.row("studies kept").counts == {Split.TRAIN: 1}
    assert rejected(tmp_path) == [
        ("silent", None),
        ("short", None),
        ("imageless", None),
        ("lost", "absent"),
        ("lost", None),
        ("broken", "bad"),
        ("broken", None),
    ]
    assert shown(tmp_path) == {"good": ["a"]}


def test_a_rejection_names_split_and_reason(tmp_path: Path) -> None:
    studies = [a_study("s", an_image("a"), an_image("absent")), a_study("t", findings="")]
    source = candidates(
        tmp_path / "root",
        studies,
        rejections=[Rejection(study_id="u", image=None, reason="no report")],
    )
    finish(source, tmp_path / "out", PrepareOptions(workers=1))
    lines = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    first, second, third = map(json.loads, lines)
    assert first == {"study_id": "u", "image": None, "reason": "no report", "split": None}
    assert second == {"study_id": "t", "image": None, "reason": "no findings", "split": "train"}
    assert (third["image"], third["split"]) == ("absent", "train")
    assert "missing" in third["reason"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_image_of_any_kind_is_listed_and_the_rest_is_prepared(
    tmp_path: Path, fault: str
) -> None:
    source = candidates(
        tmp_path / "root",
        [a_study("s", an_image("a"), an_image("broken")), a_study("t", an_image("b"))],
    )
    Path(source.image_files["broken"]).write_bytes(FAULTS[fault])
    finish(source, tmp_path / "out", PrepareOptions(budget=SMALL_BUDGET, workers=1))
    assert shown(tmp_path) == {"s": ["a"], "t": ["b"]}
    assert rejected(tmp_path) == [("s", "broken")]
    line = json.loads((tmp_path / "out" / "rejected.jsonl").read_text())
    assert len(line["reason"]) > 5
    assert str(tmp_path) not in line["reason"]


def test_a_prior_whose_images_cannot_be_read_is_no_prior(tmp_path: Path) -> None:
    summary = run(
        tmp_path,
        [
            a_study("s", an_image("a"), a_prior("bad")),
            a_study("t", an_image("b"), a_prior("c"), a_prior("bad")),
        ],
    )
    first, second = StudySet.load(tmp_path / "out")
    assert (first.images, first.prior_study_id, first.prior_time) == ((an_image("a"),), "", "")
    assert (second.prior_study_id, second.prior_time) == ("before", "1")
    assert second.prior_images == (a_prior("c"),)
    assert summary.flow.row("studies with prior images").total == 1


def test_a_good_prior_image_alone_does_not_make_a_study(tmp_path: Path) -> None:
    studies = [
        a_study("s", a_prior("p")),
        a_study("t", an_image("bad"), a_prior("p")),
        a_study("u", an_image("a")),
    ]
    assert left_out(run(tmp_path, studies)) == {
        "no image listed": 1,
        "no readable current image": 1,
    }


def test_studies_without_images_are_kept_on_request(tmp_path: Path) -> None:
    studies = [a_study("none"), a_study("bad", an_image("bad"))]
    summary = run(tmp_path, studies, Inclusion(require_images=False))
    assert left_out(summary) == {}
    assert shown(tmp_path) == {"none": [], "bad": []}
    assert rejected(tmp_path) == [("bad", "bad")]
    assert len(StudySet.load(tmp_path / "out").images) == 0


def test_studies_without_findings_or_impression_follow_the_request(tmp_path: Path) -> None:
    studies = [
        a_study("s", an_image("a"), findings=""),
        a_study("t", an_image("b"), impression="Normal."),
    ]
    rules = Inclusion(require_findings=False, require_impression=True)
    assert left_out(run(tmp_path, studies, rules)) == {"no impression": 1}
    assert shown(tmp_path) == {"t": ["b"]}


@pytest.mark.parametrize(
    ("max_images", "kept"),
    [
        (1, ["a"]),  # current before prior, frontal before lateral and other
        (2, ["a", "b"]),
        (3, ["a", "b", "c"]),
        (4, ["a", "b", "c", "p"]),
        (5, ["a", "b", "c", "p", "q"]),
        (6, ["a", "b", "c", "p", "q"]),
    ],
)
def test_the_best_images_are_kept(tmp_path: Path, max_images: int, kept: list[str]) -> None:
    study = a_study(
        "s",
        *(an_image("c", OTHER), an_image("b", LATERAL), an_image("a")),
        *(a_prior("q", LATERAL), a_prior("p")),
    )
    run(tmp_path, [study], Inclusion(max_images=max_images))
    (made,) = StudySet.load(tmp_path / "out")
    assert [image.image_id for image in made.images] == kept
    assert bool(made.prior_study_id) is bool(made.prior_images)
    # What is not shown is not made.
    assert set(StudySet.load(tmp_path / "out").images) == set(kept)


def test_studies_that_are_shown_in_part_are_counted_if_they_are_kept(tmp_path: Path) -> None:
    studies = [
        a_study("s", an_image("a"), an_image("b")),
        a_study("t", an_image("c"), split=Split.TEST),
        a_study("u", an_image("bad"), an_image("d"), split=Split.VALIDATION),
    ]
    redactor = Redactor.from_key_file(tmp_path / "key")
    for more in ({}, {"redactor": redactor, "overwrite": True}):
        flow = run(tmp_path, studies, Inclusion(max_images=1), **more).flow
        row = flow.row("studies with more images than are shown")
        assert +Counter(row.counts) == {Split.TRAIN: 1}


def test_studies_over_the_limit_are_left_out_on_request(tmp_path: Path) -> None:
    studies = [
        a_study("s", an_image("a"), an_image("b"), an_image("c")),
        a_study("t", an_image("d"), an_image("e"), a_prior("f")),
    ]
    summary = run(tmp_path, studies, Inclusion(max_images=2, drop_over_limit=True))
    assert left_out(summary) == {"more than 2 images": 1}
    assert shown(tmp_path) == {"t": ["d", "e"]}  # prior images are not counted, but cut


@pytest.mark.parametrize("wrong", [0, -1])
def test_impossible_options_are_refused(wrong: int) -> None:
    with pytest.raises(ConfigError, match=f"max_images is {wrong}; it must be at least 1"):
        Inclusion(max_images=wrong)
    with pytest.raises(ConfigError, match=f"workers is {wrong}; it must be at least 1"):
        PrepareOptions(workers=wrong)


def test_nothing_is_written_where_nothing_can_be_kept(tmp_path: Path) -> None:
    studies = [a_study("s", an_image("a"), findings=""), a_study("t")]
    with pytest.raises(
        DataError, match=r"out: no study is kept \(no findings: 1, no image listed: 1\); correct"
    ):
        run(tmp_path, studies)
    assert not (tmp_path / "out").exists()


def test_where_no_image_can_be_read_the_reasons_are_given(tmp_path: Path) -> None:
    studies = [a_study(f"s{k}", an_image(f"absent{k}")) for k in range(3)]
    with pytest.raises(
        DataError, match=r"no study is kept \(.*missing: 3, .*\); correct"
    ) as caught:
        run(tmp_path, studies)
    assert "\n" not in str(caught.value)
    # The advice holds: the files are there now.
    run(tmp_path, [a_study("s", an_image("a"))], overwrite=True)
    assert shown(tmp_path) == {"s": ["a"]}


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
    with pytest.raises(ConfigError, match=r"lies inside .*, where nothing is written; name"):
        finish(source, place(root), PrepareOptions(workers=1), root=root)
    assert bytes_of(tmp_path) == before


def test_a_folder_that_begins_with_the_name_of_the_root_lies_beside_it(tmp_path: Path) -> None:
    source = candidates(tmp_path / "root", [a_study("s", an_image("a"))])
    finish(source, tmp_path / "root-out", PrepareOptions(workers=1), root=tmp_path / "root")
    assert len(StudySet.load(tmp_path / "root-out")) == 1


def test_a_patient_in_two_splits_stops_the_preparation(tmp_path: Path) -> None:
    studies = [
        a_study("s", an_image("a"), patient_id="p"),
        a_study("t", an_image("b"), patient_id="p", split=Split.TEST),
    ]
    with pytest.raises(DataError, match="patient 'p' stands in both"):
        run(tmp_path, studies)
    assert not (tmp_path / "out").exists()


def test_an_image_without_a_file_is_named(tmp_path: Path) -> None:
    source = candidates(tmp_path / "root", [a_study("s", an_image("a"))])
    with pytest.raises(DataError, match="study 's': image 'a' has no file; give its path"):
        finish(replace(source, image_files={}), tmp_path / "out", PrepareOptions(workers=1))
    assert not (tmp_path / "out").exists()


def test_an_image_that_several_studies_show_is_made_once(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    source = candidates(
        tmp_path / "root",
        [a_study("s", an_image("a")), a_study("t", an_image("b"), a_prior("a"))],
    )
    finish(
        source,
        tmp_path / "out",
        PrepareOptions(workers=1),
        progress=lambda *state: seen.append(state),
    )
    assert [state for state in seen if state[0] == "Preparing images"] == [
        ("Preparing images", 1, 2),
        ("Preparing images", 2, 2),
    ]
    # One table, one shard, the index, the list of rejections and the card.
    assert [state for state in seen if state[0] == "Hashing files"] == [
        ("Hashing files", k, 5) for k in range(1, 6)
    ]
    assert shown(tmp_path) == {"s": ["a"], "t": ["b", "a"]}


def test_the_number_of_processes_changes_no_byte(tmp_path: Path) -> None:
    root = preparation.write_originals(tmp_path / "root")
    for workers in (1, 2):
        preparation.prepare(root, tmp_path / str(workers), workers=workers)
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "2")


def test_what_the_small_preparation_keeps(tmp_path: Path) -> None:
    root = preparation.write_originals(tmp_path / "root")
    summary = preparation.prepare(root, tmp_path / "out")
    studies = StudySet.load(tmp_path / "out")
    # a3 has no findings, and no film of c1 can be read; b2, taken before b1, is its prior.
    assert {study.study_id: study.prior_study_id for study in studies} == {
        **{"a1": "", "a2": "a1", "d1": ""},
        **{"b1": "b2", "b2": ""},
    }
    assert left_out(summary) == {"no findings": 1, "no readable current image": 1}
    # b2's lateral image is broken, for itself and as b1's prior.
    assert shown(tmp_path)["b1"] == ["b1-PA", "b1-lateral", "b2-PA"]
    assert rejected(tmp_path) == [
        ("a3", None),
        ("b1", "b2-lateral"),
        ("b2", "b2-lateral"),
        ("c1", "c1-PA"),
        ("c1", "c1-lateral"),
        ("c1", None),
    ]


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


def test_view_names_that_were_not_understood_are_in_the_account(tmp_path: Path) -> None:
    source = candidates(
        tmp_path / "root",
        [a_study("s", an_image("a"))],
        unrecognised_views=Counter({"WATERS": 3}),
        facts={"with findings": Counter({Split.TRAIN: 1})},
    )
    summary = finish(source, tmp_path / "out", PrepareOptions(workers=1))
    assert summary.unrecognised_views == {"WATERS": 3}
    assert summary.split_rule == "as given"
    assert summary.flow.row("with findings").counts == {Split.TRAIN: 1}


def test_study_ids_are_unique(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="study_id 's' would stand in it twice"):
        run(tmp_path, [a_study("s", an_image("a")), a_study("s", an_image("b"))])
