import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from editgrpo.cli import main
from editgrpo.data import sources
from editgrpo.data.given_values import has_text
from editgrpo.data.padchest_gr import (
    PadChestGRSource,
    read_padchest_gr,
)
from editgrpo.data.prepare import Candidates, Inclusion, PrepareOptions, PrepareSummary
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Language, Split, Study, View
from tests.builders import shared_data
from tests.data.trees import padchest_gr as tree
from tests.data.trees.accounts import TINY, counts, read_rejected


def prepare(
    root: Path, output: Path, *, require_images: bool = True, **source: Any
) -> tuple[PrepareSummary, dict[str, Study], list[dict[str, Any]]]:
    how = PrepareOptions(inclusion=Inclusion(require_images=require_images), budget=TINY, workers=1)
    summary = sources.prepare(PadChestGRSource(root=root, **source), output, how)
    studies = {study.study_id: study for study in StudySet.load(output)}
    return summary, studies, read_rejected(output)


def read_one(
    tmp_path: Path, *reports: tree.Report, rows: list[tree.Row] | None = None, **source: Any
) -> Candidates:
    rows = rows or [tree.row("1", "1_a.png", "train", "7", "20150601")]
    return read_padchest_gr(PadChestGRSource(root=tree.build(tmp_path, reports, rows), **source))


def test_studies_are_counted_by_split_from_raw_to_kept(tmp_path: Path) -> None:
    summary, studies, rejected = prepare(tree.standard_tree(tmp_path / "gr"), tmp_path / "out")
    # train: 101 to 106 in both files, 109 in the table only; 105 has no sentence. 107 is in no
    # table and 108 in two splits: of neither a split is known.
    assert counts(summary, "studies in the source") == (7, 1, 2, 2)
    assert counts(summary, "no findings") == (1, 0, 0)
    assert counts(summary, "no report") == (1, 0, 0)
    assert counts(summary, "not in the master table") == (0, 0, 0, 1)
    assert counts(summary, "rows of the master table disagree on split") == (0, 0, 0, 1)
    assert counts(summary, "studies kept") == (5, 1, 2)
    assert counts(summary, "with findings") == (5, 1, 2)
    # 102, 103, 104; 201; 301. Of these, 102 and 103 have one that can be shown.
    assert counts(summary, "with a prior study named") == (3, 1, 1)
    assert counts(summary, "studies with prior images") == (2, 0, 0)
    # 101: 1, 102: 2, 103: 2, 104: 1, 106: 1; 301 has a second image in the table.
    assert counts(summary, "images shown, prior ones included") == (7, 1, 3)
    assert list(studies) == ["101", "102", "103", "104", "106", "201", "301", "302"]
    assert {(line["study_id"], line["image"], line["reason"]) for line in rejected} == {
        ("104", "103_aaa", "prior study is not earlier"),
        ("105", None, "no findings"),
        ("107", None, "not in the master table"),
        ("108", None, "rows of the master table disagree on split"),
        ("109", None, "no report"),
        ("201", "902", "prior study without image"),
        ("301", "201_aaa", "prior study is of another patient"),
    }


def test_a_study_holds_its_sentences_in_order_its_day_and_its_images(tmp_path: Path) -> None:
    _, studies, _ = prepare(tree.standard_tree(tmp_path / "gr"), tmp_path / "out")
    study = studies["101"]
    assert study.findings == "Slight pleural thickening. No effusion is seen."
    assert (study.patient_id, study.split, study.time) == ("11", Split.TRAIN, "2010-01-01")
    assert [image.image_id for image in studies["301"].images] == ["301_aaa", "301_bbb"]
    assert [image.image_id for image in studies["302"].images] == ["302_aaa"]
    assert (studies["104"].time, studies["302"].time) == ("2011-06-01", "")
    assert (study.impression, study.indication, study.technique, study.comparison) == ("",) * 4


def test_the_prior_is_the_study_that_the_set_names(tmp_path: Path) -> None:
    _, studies, _ = prepare(tree.standard_tree(tmp_path / "gr"), tmp_path / "out")
    assert [image.image_id for image in studies["102"].prior_images] == ["901_pri"]
    assert (studies["102"].prior_study_id, studies["102"].prior_time) == ("901", "")
    assert [image.image_id for image in studies["103"].prior_images] == ["101_aaa"]
    assert (studies["103"].prior_study_id, studies["103"].prior_time) == ("101", "2010-01-01")
    assert not studies["104"].prior_images
    assert studies["104"].prior_study_id == ""


def test_spanish_reports_are_spanish(tmp_path: Path) -> None:
    root = tree.standard_tree(tmp_path / "gr")
    summary, studies, _ = prepare(root, tmp_path / "out", language=Language.SPANISH)
    assert studies["101"].findings == "Leve engrosamiento pleural. No se ve derrame."
    # A sentence of 106 was not translated: its report would have a hole.
    assert counts(summary, "a sentence without sentence_es") == (1, 0, 0)
    assert "106" not in studies


@pytest.mark.parametrize(
    ("sentences", "findings"),
    [
        (["No effusion."], "No effusion."),
        (["No effusion"], "No effusion."),
        ([" No   effusion ,"], "No effusion."),
        (["Is it a nodule?", "No effusion;"], "Is it a nodule? No effusion."),
        (["Line one\nline two"], "Line one line two."),
        (["", "No effusion.", "."], "No effusion."),
        ([None], ""),
        ([], ""),
    ],
)
def test_sentences_become_one_text_with_proper_ends(
    tmp_path: Path, sentences: list[str | None], findings: str
) -> None:
    entries = [{"sentence_en": sentence, "sentence_es": sentence} for sentence in sentences]
    candidates = read_one(tmp_path, tree.report("1", "1_a.png", *entries))
    assert candidates.studies[0].findings == findings


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ImageID": ...}, "ImageID is missing"),
        ({"ImageID": None}, "ImageID is missing"),
        ({"ImageID": ["1_a.png"]}, "ImageID is not text"),
        ({"ImageID": "../1_a.png"}, "ImageID is a path"),
        ({"ImageID": "\ud800.png"}, "ImageID is not text"),
        ({"PreviousStudyID": 1.5}, "PreviousStudyID is not text"),
        ({"findings": "No effusion."}, "findings is not a list"),
        ({"findings": ["No effusion."]}, "a finding is not an object"),
        ({"findings": [{"sentence_en": 7}]}, "a sentence is not text"),
        ({"findings": [{"sentence_es": "Normal."}]}, "a sentence without sentence_en"),
    ],
)
def test_an_entry_that_is_no_study_is_left_out_with_its_reason(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    good = tree.report("1", "1_a.png", tree.NO_EFFUSION)
    bad = tree.report("2", "2_a.png", tree.NO_EFFUSION, **fields)
    rows = [tree.row(f"{k}", f"{k}_a.png", "test", "7", "20150601") for k in (1, 2)]
    root = tree.build(tmp_path, [good], rows)
    (root / "grounded_reports_20240819.json").write_text(json.dumps([bad, good]))
    candidates = read_padchest_gr(PadChestGRSource(root=root))
    assert [study.study_id for study in candidates.studies] == ["1"]
    assert [(r.study_id, r.image, r.reason, r.split) for r in candidates.rejections] == [
        ("2", None, reason, Split.TEST)
    ]


@pytest.mark.parametrize(
    ("entry", "name", "reason"),
    [
        (None, "entry 2", "entry is not an object"),
        ({"ImageID": "2_a.png"}, "entry 2", "StudyID is missing"),
        ({"StudyID": True, "ImageID": "2_a.png"}, "entry 2", "StudyID is not text"),
    ],
)
def test_an_entry_without_study_id_is_named_by_its_place(
    tmp_path: Path, entry: Any, name: str, reason: str
) -> None:
    rows = [tree.row("1", "1_a.png", "test", "7", "20150601")]
    root = tree.build(tmp_path, [], rows)
    good = tree.report("1", "1_a.png", tree.NO_EFFUSION)
    (root / "grounded_reports_20240819.json").write_text(json.dumps([good, entry]))
    candidates = read_padchest_gr(PadChestGRSource(root=root))
    assert [(r.study_id, r.reason, r.split) for r in candidates.rejections] == [
        (name, reason, None)
    ]


def test_a_study_id_written_as_a_number_is_the_same_study(tmp_path: Path) -> None:
    candidates = read_one(tmp_path, tree.report(1, "1_a.png", tree.NO_EFFUSION))  # type: ignore[arg-type]
    assert [study.study_id for study in candidates.studies] == ["1"]


def test_a_study_that_stands_twice_has_two_images_or_is_left_out(tmp_path: Path) -> None:
    first = tree.report("1", "1_a.png", tree.NO_EFFUSION)
    second = tree.report("1", "1_b.png", tree.NO_EFFUSION)
    candidates = read_one(tmp_path / "same", first, second)
    assert [image.image_id for image in candidates.studies[0].images] == ["1_a", "1_b"]
    other = tree.report("1", "1_b.png", tree.THICKENING)
    candidates = read_one(tmp_path / "other", first, other)
    assert not candidates.studies
    assert [r.reason for r in candidates.rejections] == ["entries of one study disagree"]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"PatientID": "8"}, "rows of the master table disagree on PatientID"),
        ({"split": "train"}, "rows of the master table disagree on split"),
        ({"StudyDate_DICOM": "20150602"}, "rows of the master table disagree on StudyDate"),
    ],
)
def test_rows_of_one_study_that_disagree_leave_it_out(
    tmp_path: Path, cells: dict[str, str], reason: str
) -> None:
    first = tree.row("1", "1_a.png", "test", "7", "20150601")
    second = tree.row("1", "1_a.png", "test", "7", "20150601", **cells)
    report = tree.report("1", "1_a.png", tree.NO_EFFUSION)
    candidates = read_one(tmp_path, report, rows=[first, second])
    assert not candidates.studies
    assert [r.reason for r in candidates.rejections] == [reason]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"PatientID": ""}, "PatientID is missing"),
        ({"split": ""}, "split is missing or unknown"),
        ({"split": "holdout"}, "split is missing or unknown"),
    ],
)
def test_a_study_without_patient_or_split_is_left_out(
    tmp_path: Path, cells: dict[str, str], reason: str
) -> None:
    report = tree.report("1", "1_a.png", tree.NO_EFFUSION)
    rows = [tree.row("1", "1_a.png", "test", "7", "20150601", **cells)]
    candidates = read_one(tmp_path, report, rows=rows)
    assert [r.reason for r in candidates.rejections] == [reason]


def test_a_gap_in_one_row_is_no_disagreement(tmp_path: Path) -> None:
    first = tree.row("1", "1_a.png", "", "", "", StudyDate="")
    second = tree.row("1", "1_a.png", "validation", "7", "", StudyDate="2015-06-01")
    report = tree.report("1", "1_a.png", tree.NO_EFFUSION)
    (study,) = read_one(tmp_path, report, rows=[first, second]).studies
    assert (study.patient_id, study.split, study.time) == ("7", Split.VALIDATION, "2015-06-01")


@pytest.mark.parametrize(
    ("prior_study", "prior_image", "reason"),
    [
        ("1", "9_a.png", "prior study is the study itself"),
        ("9", "1_a.png", "prior study is the study itself"),
        (None, "9_a.png", "prior image without study"),
        ("9", None, "prior study without image"),
        ("9", "2_a.png", "prior image is of another study"),
        ("2", "2_a.png", "prior study is not earlier"),
    ],
)
def test_a_prior_that_cannot_be_one_is_not_shown(
    tmp_path: Path, prior_study: str | None, prior_image: str | None, reason: str
) -> None:
    reports = [
        tree.report(
            "1",
            "1_a.png",
            tree.NO_EFFUSION,
            PreviousStudyID=prior_study,
            PreviousImageID=prior_image,
        ),
        tree.report("2", "2_a.png", tree.NO_EFFUSION),
    ]
    rows = [
        tree.row("1", "1_a.png", "test", "7", "20150601"),
        tree.row("2", "2_a.png", "test", "7", "20150602"),
    ]
    candidates = read_one(tmp_path, *reports, rows=rows)
    assert not candidates.studies[0].prior_images
    assert [(r.study_id, r.reason) for r in candidates.rejections] == [("1", reason)]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([("train", "7", "20150601")], "prior study is not earlier"),
        ([("test", "8", "20150531")], "prior study is of another patient"),
        ([("train", "7", "20150531"), ("test", "7", "20150531")], "prior study has no usable rows"),
        ([("train", "7", "20150531")], None),
    ],
)
def test_a_prior_without_report_is_held_against_the_master_table(
    tmp_path: Path, rows: list[tuple[str, str, str]], reason: str | None
) -> None:
    table = [
        tree.row("1", "1_a.png", "train", "7", "20150601"),
        *(tree.row("2", "2_a.png", *cells) for cells in rows),
    ]
    report = tree.report(
        "1", "1_a.png", tree.NO_EFFUSION, PreviousStudyID="2", PreviousImageID="2_a.png"
    )
    candidates = read_one(tmp_path, report, rows=table)
    assert [r.reason for r in candidates.rejections if r.study_id == "1"] == (
        [reason] if reason else []
    )
    assert bool(candidates.studies[0].prior_images) == (reason is None)


@pytest.mark.parametrize(
    ("patient", "day", "reason"),
    [
        ("7", "20150531", None),
        ("7", "20150601", "prior study is not earlier"),  # of one day: nobody knows which is first
        ("7", "", None),
        ("7", "20150602", "prior study is not earlier"),
        ("8", "20150531", "prior study is of another patient"),
    ],
)
def test_padchests_own_table_gives_views_and_the_days_of_priors(
    tmp_path: Path, patient: str, day: str, reason: str | None
) -> None:
    table = tree.write_padchest(
        tmp_path / "PADCHEST.csv",
        ("1_a.png", "1", "7", "20150601", "PA"),
        ("9_a.png", "9", patient, day, "AP_horizontal"),
        ("5_a.png", "5", "5", "20150601", "L"),
    )
    report = tree.report(
        "1", "1_a.png", tree.NO_EFFUSION, PreviousStudyID="9", PreviousImageID="9_a.png"
    )
    candidates = read_one(tmp_path / "gr", report, views=table)
    assert [r.reason for r in candidates.rejections] == ([reason] if reason else [])
    views = [image.view for image in candidates.studies[0].images]
    assert views == ([View.PA] if reason else [View.PA, View.AP])


def test_without_padchests_table_current_images_are_frontal_and_other_priors_unknown(
    tmp_path: Path,
) -> None:
    _, studies, _ = prepare(tree.standard_tree(tmp_path / "gr"), tmp_path / "out")
    views = {image.image_id: image.view for study in studies.values() for image in study.images}
    assert {name for name, view in views.items() if view is not View.FRONTAL} == {"901_pri"}
    assert views["901_pri"] is View.UNKNOWN


def test_real_sentences_are_joined_word_for_word(tmp_path: Path) -> None:
    path = shared_data() / "iu_xray/indiana_reports.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        texts = [report["findings"] for report in csv.DictReader(stream)][:300]
    sentences = [[part for part in text.split(". ") if has_text(part)] for text in texts]
    reports = [
        tree.report(f"{k}", f"{k}_a.png", *(tree.normal(each, each) for each in parts))
        for k, parts in enumerate(sentences)
    ]
    rows = [tree.row(f"{k}", f"{k}_a.png", "test", f"{k}", "20150601") for k in range(len(texts))]
    studies = read_one(tmp_path, *reports, rows=rows).studies
    for study, parts in zip(studies, sentences, strict=True):
        words = re.findall(r"\w+", study.findings)
        assert words == re.findall(r"\w+", " ".join(parts))
        assert not parts or study.findings.endswith((".", "!", "?"))


def test_the_command_prints_the_flow_and_takes_the_options_of_the_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree.standard_tree(tmp_path / "gr")
    table = tree.write_padchest(
        tmp_path / "PADCHEST.csv", ("901_pri.png", "901", "12", "20100101", "L")
    )
    words = f"prepare padchest-gr --root {root} --out {tmp_path / 'out'} --language es"
    with pytest.raises(SystemExit) as stop:
        main([*words.split(), "--padchest-csv", str(table), "--workers", "1"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    assert re.search(r"left out: a sentence without sentence_es +1 +0 +0 +0 +1\n", printed)
    assert re.search(r"lateral images +1 +0 +0 +0 +1\n", printed)
    assert "Split: official: column split of the master table\n" in printed
