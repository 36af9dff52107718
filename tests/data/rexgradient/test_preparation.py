import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from editgrpo.cli import main
from editgrpo.data import sources
from editgrpo.data.prepare import Inclusion, PrepareOptions, PrepareSummary
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.rexgradient import (
    REXGRADIENT_INCLUSION,
    ReXGradientSource,
    read_rexgradient,
)
from editgrpo.data.study import Split, Study, View
from tests.builders import shared_data
from tests.data.trees import rexgradient as tree
from tests.data.trees.accounts import TINY, counts, read_rejected


def options(**inclusion: Any) -> PrepareOptions:
    rule = Inclusion(most_current=6, **inclusion)
    return PrepareOptions(inclusion=rule, budget=TINY, workers=1)


def short(study_id: str) -> str:
    """Return the end of a StudyInstanceUid, by which the trees number their studies."""
    return study_id.rpartition(".")[2]


def prepare(
    root: Path, output: Path, how: PrepareOptions | None = None, **source: Any
) -> tuple[PrepareSummary, dict[str, Study], list[dict[str, Any]]]:
    summary = sources.prepare(ReXGradientSource(root=root, **source), output, how or options())
    studies = {short(study.study_id): study for study in StudySet.load(output)}
    return summary, studies, read_rejected(output)


def standard_tree(root: Path) -> Path:
    return tree.build(root, tree.standard_entries(), draw=tree.draw_film)


def test_studies_are_counted_by_split_from_raw_to_kept(tmp_path: Path) -> None:
    summary, studies, rejected = prepare(standard_tree(tmp_path / "rex"), tmp_path / "out")
    # train: 101 to 111; 104 has an impression only, 106 seven images, 108 one view for two images,
    # 109 no section at all, 111 no image. test: 302 has no patient.
    assert counts(summary, "studies in the source") == (11, 2, 2)
    assert counts(summary, "no findings, impression only") == (1, 0, 0)
    assert counts(summary, "no findings") == (1, 0, 0)
    assert counts(summary, "more than 6 images") == (1, 0, 0)
    assert counts(summary, "image lists of unequal length") == (1, 0, 0)
    assert counts(summary, "no image listed") == (1, 0, 0)
    assert counts(summary, "PatientID is missing") == (0, 0, 1)
    assert counts(summary, "studies kept") == (6, 2, 1)
    # Of the ten train studies that can be read, 104 and 109 have no findings, 109 no impression.
    assert counts(summary, "with findings") == (8, 2, 1)
    assert counts(summary, "with impression") == (9, 1, 1)
    assert counts(summary, "with a body part other than the chest") == (1, 0, 0)
    assert counts(summary, "without a study date") == (1, 0, 0)
    # 101: 2, 102: 1, 103: 2, 105: 2, 107: 6, 110: 1.
    assert counts(summary, "images shown, prior ones included") == (14, 3, 1)
    assert counts(summary, "patients") == (4, 2, 1)
    assert counts(summary, "studies with prior images") == (0, 0, 0)
    assert sorted(studies) == ["101", "102", "103", "105", "107", "110", "201", "202", "301"]
    assert {short(line["study_id"]): line["reason"] for line in rejected} == {
        "104": "no findings, impression only",
        "106": "more than 6 images",
        "108": "image lists of unequal length",
        "109": "no findings",
        "111": "no image listed",
        "302": "PatientID is missing",
    }


def test_a_study_holds_its_sections_its_day_and_its_images_in_order(tmp_path: Path) -> None:
    _, studies, _ = prepare(standard_tree(tmp_path / "rex"), tmp_path / "out")
    study = studies["102"]
    assert (study.patient_id, study.split, study.time) == ("A", Split.TRAIN, "2015-03-01")
    assert study.indication == "Cough for a week."
    assert study.comparison == "Film of January."
    assert study.findings == "Both lungs are well aerated. The heart is not enlarged."
    assert study.impression == "Normal film."
    assert study.technique == ""
    assert [(image.image_id, image.view) for image in studies["103"].images] == [
        ("1.2.103.0.1", View.AP),
        ("1.2.103.1.1", View.LATERAL),
    ]
    assert [image.view for image in studies["105"].images] == [View.PA, View.UNKNOWN]
    assert studies["110"].time == ""
    assert studies["201"].split is Split.VALIDATION


def test_priors_are_the_most_recent_earlier_study_of_the_patient_when_asked_for(
    tmp_path: Path,
) -> None:
    summary, studies, _ = prepare(
        standard_tree(tmp_path / "rex"), tmp_path / "out", longitudinal=True
    )
    # 102 and 103 are of one day: both follow 101, neither the other. 105 follows 104, which is left
    # out itself. 107 follows 106, of whose images none fits beside its own six.
    priors = {name: short(study.prior_study_id) for name, study in studies.items()}
    assert {name: prior for name, prior in priors.items() if prior} == {
        "102": "101",
        "103": "101",
        "105": "104",
    }
    assert counts(summary, "studies with prior images") == (3, 0, 0)
    assert [image.image_id for image in studies["102"].prior_images] == [
        "1.2.101.0.1",
        "1.2.101.1.1",
    ]
    assert studies["102"].prior_time == "2015-01-01"


def test_studies_with_more_images_than_shown_are_kept_on_request(tmp_path: Path) -> None:
    root = standard_tree(tmp_path / "rex")
    how = PrepareOptions(inclusion=Inclusion(), budget=TINY, workers=1)
    _, studies, _ = prepare(root, tmp_path / "out", how)
    assert len(studies["106"].images) == 6
    assert REXGRADIENT_INCLUSION.most_current == 6


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("PA", View.PA),
        ("AP", View.AP),
        ("LATERAL", View.LATERAL),
        ("LL", View.LATERAL),
        ("LAT", View.LATERAL),
        ("LAO", View.OBLIQUE),
        ("RAO", View.OBLIQUE),
        ("LPO", View.OBLIQUE),
        ("RPO", View.OBLIQUE),
        ("POSTERO_ANTERIOR", View.PA),
        ("ANTERO_POSTERIOR", View.AP),
        ("AP AXIAL", View.AP),
        ("DECUBITUS", View.DECUBITUS),
        ("ERECT", View.UNKNOWN),
        ("SUPINE", View.UNKNOWN),
        ("KUB", View.OTHER),
        ("OBLIQUE", View.OBLIQUE),
        ("PICC LINE", View.OTHER),
        ("OTHER", View.OTHER),
        ("UNKNOWN", View.UNKNOWN),
        ("N/A", View.UNKNOWN),
        ("None", View.UNKNOWN),
        (None, View.UNKNOWN),
        (7, View.UNKNOWN),
    ],
)
def test_views_of_the_set_have_the_names_of_all_sets(
    tmp_path: Path, name: str | None, view: View
) -> None:
    entries = {"train": dict([tree.entry("A", "1", [name])])}
    source = ReXGradientSource(root=tree.build(tmp_path, entries), splits=(Split.TRAIN,))
    candidates = read_rexgradient(source)
    assert candidates.studies[0].images[0].view is view
    assert not candidates.unrecognised_views


def test_a_view_that_is_not_understood_is_counted_by_name(tmp_path: Path) -> None:
    entries = {"train": dict([tree.entry("A", "1", ["SKYLINE", "SKYLINE"])])}
    source = ReXGradientSource(root=tree.build(tmp_path, entries), splits=(Split.TRAIN,))
    assert read_rexgradient(source).unrecognised_views == {"SKYLINE": 2}


@pytest.mark.parametrize(
    ("value", "section"),
    [
        ("None", ""),
        ("", ""),
        (" \n", ""),
        (None, ""),
        (float("nan"), ""),
        (..., ""),
        ("___", ""),
        ("None.", "None."),  # somebody wrote a sentence
        ("Two  lines,\r\none sentence.", "Two lines, one sentence."),
    ],
)
def test_sections_that_are_not_there_are_empty(tmp_path: Path, value: Any, section: str) -> None:
    entries = {"train": dict([tree.entry("A", "1", Comparison=value)])}
    source = ReXGradientSource(root=tree.build(tmp_path, entries), splits=(Split.TRAIN,))
    assert read_rexgradient(source).studies[0].comparison == section


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"PatientID": ...}, "PatientID is missing"),
        ({"PatientID": "  "}, "PatientID is missing"),
        ({"PatientID": ["A"]}, "PatientID is missing"),
        ({"ImagePath": ...}, "ImagePath is missing"),
        ({"ImagePath": "one.png"}, "ImagePath is not a list"),
        ({"ImageViewPosition": "PA"}, "ImageViewPosition is not a list"),
        ({"ImageViewPosition": []}, "image lists of unequal length"),
        ({"ImageBodyPart": ["CHEST", "CHEST"]}, "image lists of unequal length"),
        ({"Findings": 7}, "Findings is not text"),
        ({"Impression": ["Normal."]}, "Impression is not text"),
        ({"Indication": "\ud800"}, "Indication is not text"),
    ],
)
def test_an_entry_that_is_no_study_is_left_out_with_its_reason(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    good, bad = tree.entry("A", "1"), tree.entry("B", "2")
    bad[1].update(fields)
    bad = (bad[0], {name: value for name, value in bad[1].items() if value is not ...})
    root = tree.build(tmp_path, {"train": dict([good])})
    path = root / "metadata/train_metadata_view_position.json"
    path.write_text(json.dumps(dict([bad, good])))
    candidates = read_rexgradient(ReXGradientSource(root=root, splits=(Split.TRAIN,)))
    assert [study.study_id for study in candidates.studies] == [good[0]]
    assert [(r.study_id, r.image, r.reason, r.split) for r in candidates.rejections] == [
        (bad[0], None, reason, Split.TRAIN)
    ]


def test_an_entry_that_is_no_object_is_left_out(tmp_path: Path) -> None:
    root = tree.build(tmp_path, {"train": dict([tree.entry("A", "1")])})
    path = root / "metadata/train_metadata_view_position.json"
    path.write_text(json.dumps({"pX_aY_sZ": None}))
    candidates = read_rexgradient(ReXGradientSource(root=root, splits=(Split.TRAIN,)))
    assert [rejection.reason for rejection in candidates.rejections] == ["entry is not an object"]


@pytest.mark.parametrize(
    "listed",
    [
        None,
        7,
        "",
        "/etc/passwd",
        "../deid_png/",
        "../deid_png/../../secret.png",
        "../deid_png//etc/passwd",
        "../../deid_png/A/1.png",
        "elsewhere/deid_png/A/1.png",
        "..\\deid_png\\A\\1.png",
        "../deid_png/\ud800.png",
    ],
)
def test_a_path_that_leaves_the_images_is_left_out_and_the_study_stays(
    tmp_path: Path, listed: Any
) -> None:
    key, made = tree.entry("A", "1", ["PA", "LL"])
    root = tree.build(tmp_path, {"train": {key: made}})
    made["ImagePath"][0] = listed
    (root / "metadata/train_metadata_view_position.json").write_text(json.dumps({key: made}))
    candidates = read_rexgradient(ReXGradientSource(root=root, splits=(Split.TRAIN,)))
    assert [image.view for image in candidates.studies[0].images] == [View.LATERAL]
    assert [(r.image, r.reason) for r in candidates.rejections] == [
        ("ImagePath[0]", "path is not ../deid_png/...")
    ]


def test_an_image_listed_twice_is_shown_once(tmp_path: Path) -> None:
    key, made = tree.entry("A", "1", ["PA", "LL"])
    made["ImagePath"][1] = made["ImagePath"][0]
    root = tree.build(tmp_path, {"train": {key: made}})
    candidates = read_rexgradient(ReXGradientSource(root=root, splits=(Split.TRAIN,)))
    assert [image.view for image in candidates.studies[0].images] == [View.PA]
    assert [r.reason for r in candidates.rejections] == ["image listed twice"]


def test_two_files_of_one_name_are_named_by_their_studies_too(tmp_path: Path) -> None:
    entries = dict([tree.entry("A", "1"), tree.entry("B", "2"), tree.entry("C", "3")])
    first, second, _ = entries
    for key in (first, second):
        folder = entries[key]["ImagePath"][0].rpartition("/")[0]
        entries[key]["ImagePath"] = [f"{folder}/9.9.png"]
    root = tree.build(tmp_path, {"train": entries})
    candidates = read_rexgradient(ReXGradientSource(root=root, splits=(Split.TRAIN,)))
    names = [study.images[0].image_id for study in candidates.studies]
    assert names == [f"{first}/9.9", f"{second}/9.9", "1.2.3.0.1"]
    assert candidates.image_files[names[0]] != candidates.image_files[names[1]]


@pytest.mark.slow
def test_sections_of_real_reports_lose_nothing_but_white_space(tmp_path: Path) -> None:
    path = shared_data() / "iu_xray/indiana_reports.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        reports = list(csv.DictReader(stream))[:300]
    names = ("Indication", "Comparison", "Findings", "Impression")
    entries = {
        "train": dict(
            tree.entry(
                report["uid"], report["uid"], **{name: report[name.lower()] for name in names}
            )
            for report in reports
        )
    }
    source = ReXGradientSource(root=tree.build(tmp_path, entries), splits=(Split.TRAIN,))
    studies = read_rexgradient(source).studies
    assert len(studies) == len(reports)
    for study, report in zip(studies, reports, strict=True):
        for name in names:
            words = report[name.lower()].split()
            section = getattr(study, name.lower())
            # "None" alone is how a missing section is written; a full stop makes it a sentence.
            # De-identified words alone say nothing.
            says_nothing = words == ["None"] or set(words) <= {"XXXX", "XXXX,", "XXXX."}
            assert section.split() == ([] if says_nothing else words)


def test_the_command_prints_the_flow_and_takes_the_options_of_the_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = standard_tree(tmp_path / "rex")
    words = f"prepare rexgradient --root {root} --out {tmp_path / 'out'} --split train"
    with pytest.raises(SystemExit) as stop:
        main([*words.split(), "--longitudinal", "--workers", "1"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    assert re.search(r"left out: more than 6 images +1 +1\n", printed)
    assert re.search(r"studies with prior images +3 +3\n", printed)
    assert "Split: official: train\n" in printed
    # Without options, images have the paper's least pixels, though the films have 24 x 20.
    store = ImageStore.open(tmp_path / "out")
    assert all(height * width >= 262_144 for height, width in map(store.size, store))
