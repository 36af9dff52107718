import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from editgrpo.data.check import check_images
from editgrpo.data.prepare import Candidates, Inclusion, PrepareSummary, finish
from editgrpo.data.store import StudySet
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError


def an_image(
    path: Path, timepoint: Timepoint = Timepoint.CURRENT, *, good: bool = True
) -> StudyImage:
    path.parent.mkdir(parents=True, exist_ok=True)
    if good:
        Image.new("L", (8, 8)).save(path)
    else:
        path.write_bytes(b"no image")
    return StudyImage(path=str(path), view=View.PA, timepoint=timepoint)


def a_study(
    study_id: str, *images: StudyImage, findings: str = "Clear.", patient: str = ""
) -> Study:
    return Study(
        study_id=study_id,
        patient_id=patient or study_id,
        split=Split.TRAIN,
        images=images,
        findings=findings,
    )


def run(
    studies: list[Study], output: Path, inclusion: Inclusion | None = None
) -> tuple[PrepareSummary, list[dict[str, object]]]:
    summary = finish(
        Candidates(studies=studies, seen=len(studies), split_rule="given"),
        output,
        inclusion=inclusion or Inclusion(),
    )
    lines = (output / "rejected.jsonl").read_text().splitlines()
    return summary, [json.loads(line) for line in lines]


def test_each_study_left_out_is_counted_and_listed_with_its_reason(tmp_path: Path) -> None:
    absent = StudyImage(path=str(tmp_path / "absent.png"), view=View.PA)
    studies = [
        a_study("good", an_image(tmp_path / "a.png")),
        a_study("silent", an_image(tmp_path / "b.png"), findings=""),
        a_study("imageless"),
        a_study("lost", absent),
    ]
    summary, rejected = run(studies, tmp_path / "out")
    assert (summary.seen, summary.kept) == (4, 1)
    assert summary.dropped == {
        "no findings": 1,
        "no current image listed": 1,
        "no readable current image": 1,
    }
    assert summary.seen == summary.kept + sum(summary.dropped.values())
    assert summary.images_left_out == {"image file is missing": 1}
    assert [(line["study_id"], line["image"], line["reason"]) for line in rejected] == [
        ("silent", None, "no findings"),
        ("imageless", None, "no current image listed"),
        ("lost", str(tmp_path / "absent.png"), "image file is missing"),
        ("lost", None, "no readable current image"),
    ]
    assert [study.study_id for study in StudySet.load(tmp_path / "out")] == ["good"]


def test_a_study_keeps_its_good_images_and_loses_its_bad_ones(tmp_path: Path) -> None:
    study = a_study(
        "s",
        an_image(tmp_path / "bad.png", good=False),
        an_image(tmp_path / "good.png"),
        an_image(tmp_path / "prior.png", Timepoint.PRIOR, good=False),
    )
    summary, _ = run([study], tmp_path / "out")
    (kept,) = StudySet.load(tmp_path / "out")
    assert [Path(image.path).name for image in kept.images] == ["good.png"]
    assert summary.images_left_out == {"is neither JPEG nor PNG": 2}
    assert summary.with_prior == 0


def test_a_good_prior_image_alone_does_not_make_a_study(tmp_path: Path) -> None:
    prior = an_image(tmp_path / "prior.png", Timepoint.PRIOR)
    studies = [
        a_study("s", prior),
        a_study("t", an_image(tmp_path / "bad.png", good=False), prior),
        a_study("u", an_image(tmp_path / "a.png")),
    ]
    assert run(studies, tmp_path / "out")[0].dropped == {
        "no current image listed": 1,
        "no readable current image": 1,
    }


def test_studies_without_images_are_kept_on_request(tmp_path: Path) -> None:
    studies = [a_study("none"), a_study("bad", an_image(tmp_path / "bad.png", good=False))]
    summary, rejected = run(studies, tmp_path / "out", Inclusion(require_images=False))
    assert (summary.kept, summary.images) == (2, 0)
    assert [line["image"] for line in rejected] == [str(tmp_path / "bad.png")]


def test_other_inclusion_rules_follow_the_request(tmp_path: Path) -> None:
    studies = [a_study("s", an_image(tmp_path / "a.png"), findings=""), a_study("t")]
    summary, _ = run(studies, tmp_path / "out", Inclusion(require_findings=False))
    assert summary.dropped == {"no current image listed": 1}
    with pytest.raises(DataError, match=r"none of 2 studies is kept \(no findings: 1, no imp"):
        run(studies, tmp_path / "none", Inclusion(require_impression=True))
    assert not (tmp_path / "none" / "studies.jsonl").exists()
    assert (tmp_path / "none" / "rejected.jsonl").exists()


def test_images_inside_the_folder_get_relative_paths(tmp_path: Path) -> None:
    inside, outside = an_image(tmp_path / "out/images/a.png"), an_image(tmp_path / "b.png")
    run([a_study("s", inside, outside)], tmp_path / "out")
    (study,) = StudySet.load(tmp_path / "out")
    assert [image.path for image in study.images] == ["images/a.png", str(tmp_path / "b.png")]
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = StudySet.load(tmp_path / "moved")
    assert moved.image_path(moved[0].images[0]).exists()


def test_the_account_adds_up(tmp_path: Path) -> None:
    prior = an_image(tmp_path / "p.png", Timepoint.PRIOR)
    studies = [
        a_study("s", an_image(tmp_path / "a.png"), prior),
        a_study("t", an_image(tmp_path / "b.png"), findings=""),
    ]
    summary, _ = run(studies, tmp_path / "out")
    assert summary.studies_of_split == {Split.TRAIN: 1, Split.VALIDATION: 0, Split.TEST: 0}
    assert (summary.images, summary.with_prior, summary.views) == (2, 1, {View.PA: 2})
    assert dict(summary.rows())["left out: no findings"] == 1


def test_an_image_that_several_studies_show_is_decoded_once(tmp_path: Path) -> None:
    shared = an_image(tmp_path / "a.png")
    seen: list[tuple[int, int]] = []
    kept, rejections = check_images(
        [a_study("s", shared), a_study("t", shared)],
        tmp_path,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (len(kept), rejections, seen) == (2, [], [(1, 1)])


def test_a_patient_in_two_splits_stops_the_preparation(tmp_path: Path) -> None:
    image = an_image(tmp_path / "a.png")
    other = Study(study_id="t", patient_id="s", split=Split.TEST, images=(image,), findings="x")
    with pytest.raises(DataError, match="patient 's' stands in both"):
        run([a_study("s", image), other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_view_names_that_were_not_understood_are_in_the_account(tmp_path: Path) -> None:
    candidates = Candidates(
        studies=[a_study("s", an_image(tmp_path / "a.png"))],
        seen=1,
        split_rule="given",
        unrecognised_views=Counter({"WATERS": 3, "A SMALL LEFT PLEURAL EFFUSION": 1, "X" * 25: 1}),
    )
    rows = finish(candidates, tmp_path / "out", inclusion=Inclusion()).rows()
    assert ("view not understood: WATERS", 3) in rows
    assert ("view not understood: (long text)", 2) in rows
    assert not any("EFFUSION" in name for name, _ in rows)
