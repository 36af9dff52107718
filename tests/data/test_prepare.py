import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from editgrpo.data.prepare import (
    Inclusion,
    PrepareOptions,
    finish,
)
from editgrpo.data.prepared.store import Rejection, StudySet
from editgrpo.data.redact import Redactor
from editgrpo.data.study import Split, View
from editgrpo.errors import ConfigError, DataError
from tests.builders import SMALL_BUDGET, bytes_of
from tests.data import preparation
from tests.data.candidates import (
    a_prior,
    a_study,
    an_image,
    candidates,
    left_out,
    rejected,
    run,
    shown,
)
from tests.data.faults import FAULTS

LATERAL, OTHER = View.LATERAL, View.OTHER


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
    summary = run(tmp_path, studies, Inclusion(most_current=2))
    assert left_out(summary) == {"more than 2 images": 1}
    assert shown(tmp_path) == {"t": ["d", "e", "f"]}  # prior images are not counted


@pytest.mark.parametrize("wrong", [0, -1])
def test_impossible_options_are_refused(wrong: int) -> None:
    with pytest.raises(ConfigError, match=f"max_images is {wrong}; it must be at least 1"):
        Inclusion(max_images=wrong)
    with pytest.raises(ConfigError, match=f"most_current is {wrong}; it must be at least 1"):
        Inclusion(most_current=wrong)
    with pytest.raises(ConfigError, match=f"workers is {wrong}; it must be at least 1"):
        PrepareOptions(workers=wrong)


def test_a_patient_in_two_splits_stops_the_preparation(tmp_path: Path) -> None:
    studies = [
        a_study("s", an_image("a"), patient_id="p"),
        a_study("t", an_image("b"), patient_id="p", split=Split.TEST),
    ]
    with pytest.raises(DataError, match="patient 'p' is in both"):
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


@pytest.mark.slow
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
    with pytest.raises(DataError, match="study_id 's' would be in it twice"):
        run(tmp_path, [a_study("s", an_image("a")), a_study("s", an_image("b"))])


@pytest.mark.parametrize(("absent", "option"), [(1, "--root"), (2, "--images"), (9, "--images")])
def test_many_missing_images_are_warned_of_and_a_few_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, absent: int, option: str
) -> None:
    names = [f"absent{k}" for k in range(absent)] + [f"i{k}" for k in range(10 - absent)]
    studies = [a_study(f"s-{name}", an_image(name)) for name in names]
    source = candidates(tmp_path / "root", studies, images_option=option)
    finish(source, tmp_path / "out", PrepareOptions(budget=SMALL_BUDGET, workers=1))
    expected = f"{absent} of 10 images are missing; is --images right?"
    assert caplog.messages == ([] if absent == 1 else [expected])


def test_broken_images_are_not_missing_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, [a_study("s", an_image("bad"), an_image("a"))])
    assert caplog.messages == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_split_that_ends_empty_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dry_run: bool
) -> None:
    studies = [
        a_study("s", an_image("a")),
        a_study("t", an_image("b"), split=Split.TEST, findings=""),
    ]
    run(tmp_path, studies, dry_run=dry_run)
    assert caplog.messages == [
        "no study of split test is kept, of 1 in the source; the account says why"
    ]
