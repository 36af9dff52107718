import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from editgrpo.cli import main
from editgrpo.data.image_store import ImageStore
from editgrpo.data.missing import has_text
from editgrpo.data.padchest_gr import PadChestGRSource, prepare_padchest_gr, read_padchest_gr
from editgrpo.data.padchest_reports import Language
from editgrpo.data.padchest_tables import read_padchest_table
from editgrpo.data.prepare import Candidates, Inclusion, PrepareOptions, PrepareSummary
from editgrpo.data.resize import PixelBudget
from editgrpo.data.store import REJECTED_FILE, StudySet
from editgrpo.data.study import Split, Study, View
from editgrpo.errors import ConfigError, DataError
from tests.builders import shared_data
from tests.data.trees import padchest_gr as tree

TINY = PixelBudget(min_pixels=784, max_pixels=3136, multiple_of=28)


def prepare(
    root: Path, output: Path, *, require_images: bool = True, **source: Any
) -> tuple[PrepareSummary, dict[str, Study], list[dict[str, Any]]]:
    how = PrepareOptions(inclusion=Inclusion(require_images=require_images), budget=TINY, workers=1)
    summary = prepare_padchest_gr(PadChestGRSource(root=root, **source), output, how)
    studies = {study.study_id: study for study in StudySet.load(output)}
    lines = (output / REJECTED_FILE).read_text(encoding="utf-8").splitlines()
    return summary, studies, [json.loads(line) for line in lines]


def read_one(
    tmp_path: Path, *reports: tree.Report, rows: list[tree.Row] | None = None, **source: Any
) -> Candidates:
    rows = rows or [tree.row("1", "1_a.png", "train", "7", "20150601")]
    return read_padchest_gr(PadChestGRSource(root=tree.build(tmp_path, reports, rows), **source))


def counts(summary: PrepareSummary, name: str) -> tuple[int, int, int, int]:
    row = summary.flow.row(name).counts
    return (
        row.get(Split.TRAIN, 0),
        row.get(Split.VALIDATION, 0),
        row.get(Split.TEST, 0),
        row.get(None, 0),
    )


def test_studies_are_counted_by_split_from_raw_to_kept(tmp_path: Path) -> None:
    summary, studies, rejected = prepare(tree.standard_tree(tmp_path / "gr"), tmp_path / "out")
    # train: 101 to 106 in both files, 109 in the table only; 105 has no sentence. 107 is in no
    # table and 108 in two splits: of neither a split is known.
    assert counts(summary, "studies in the source") == (7, 1, 2, 2)
    assert counts(summary, "no findings") == (1, 0, 0, 0)
    assert counts(summary, "no report") == (1, 0, 0, 0)
    assert counts(summary, "not in the master table") == (0, 0, 0, 1)
    assert counts(summary, "rows of the master table disagree on split") == (0, 0, 0, 1)
    assert counts(summary, "studies kept") == (5, 1, 2, 0)
    assert counts(summary, "with findings") == (5, 1, 2, 0)
    # 102, 103, 104; 201; 301. Of these, 102 and 103 have one that can be shown.
    assert counts(summary, "with a prior study named") == (3, 1, 1, 0)
    assert counts(summary, "studies with prior images") == (2, 0, 0, 0)
    # 101: 1, 102: 2, 103: 2, 104: 1, 106: 1; 301 has a second image in the table.
    assert counts(summary, "images shown, prior ones included") == (7, 1, 3, 0)
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
    assert counts(summary, "a sentence without sentence_es") == (1, 0, 0, 0)
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


def test_cells_over_several_lines_are_one_cell_in_a_long_table(tmp_path: Path) -> None:
    # Three megabytes: a reader that cuts files into blocks at line ends cuts through such cells.
    images = [(f"{k}_a.png", f"{k}", f"{k}", "20150601", "PA") for k in range(50_000)]
    table = tree.write_padchest(tmp_path / "PADCHEST.csv", *images)
    found = read_padchest_table(table, {f"{k}_a" for k in range(50_000)})
    assert [image.study_id for image in found.values()] == [f"{k}" for k in range(50_000)]


def test_without_padchests_table_current_images_are_frontal_and_other_priors_unknown(
    tmp_path: Path,
) -> None:
    _, studies, _ = prepare(tree.standard_tree(tmp_path / "gr"), tmp_path / "out")
    views = {image.image_id: image.view for study in studies.values() for image in study.images}
    assert {name for name, view in views.items() if view is not View.FRONTAL} == {"901_pri"}
    assert views["901_pri"] is View.UNKNOWN


def test_images_of_12_bits_in_16_are_neither_black_nor_clipped(tmp_path: Path) -> None:
    root = tree.standard_tree(tmp_path / "gr")
    assert {Image.open(path).mode for path in root.rglob("*.png")} == {"L", "I;16"}
    _, studies, _ = prepare(root, tmp_path / "out")
    store = ImageStore.open(tmp_path / "out")
    assert set(store) == {image.image_id for s in studies.values() for image in s.images}
    extremes = [store.load(name).getextrema() for name in store]
    assert all(isinstance(low, int | float) and low < 60 < 120 < high for low, high in extremes)


def test_images_are_found_at_any_depth_by_links_and_by_name_without_suffix(
    tmp_path: Path,
) -> None:
    root = tree.standard_tree(tmp_path / "gr")
    shutil.move(root / tree.CURRENT, tmp_path / "films")
    shutil.rmtree(root / "Padchest_GR_files")
    (root / "films").symlink_to(tmp_path / "films")
    # Circles: walked without end, or 2^40 times, unless a folder is known again.
    (tmp_path / "films/back").symlink_to(root)
    (tmp_path / "films/here").symlink_to(tmp_path / "films")
    with Image.open(tmp_path / "films/101_aaa.png") as film:
        for name in ("101_aaa.jpg", "z/101_aaa.jpg"):
            (tmp_path / "films" / name).parent.mkdir(exist_ok=True)
            film.convert("L").save(tmp_path / "films" / name)
    candidates = read_padchest_gr(PadChestGRSource(root=root), images_must_exist=True)
    assert candidates.image_files["101_aaa"] == f"{root}/films/101_aaa.png"
    assert all(Path(path).is_file() for path in candidates.image_files.values())


def test_missing_empty_and_damaged_images_are_listed_and_their_studies_go_on(
    tmp_path: Path,
) -> None:
    root = tree.standard_tree(tmp_path / "gr")
    (root / tree.CURRENT / "106_aaa.png").unlink()
    (root / tree.CURRENT / "301_aaa.png").write_bytes(b"")
    (root / tree.PRIOR / "901_pri.png").write_text("no image")
    summary, studies, rejected = prepare(root, tmp_path / "out")
    listed = {line["image"] for line in rejected if line["image"] is not None}
    assert {"106_aaa", "301_aaa", "901_pri"} <= listed
    assert counts(summary, "no readable current image") == (1, 0, 0, 0)
    assert [image.image_id for image in studies["301"].images] == ["301_bbb"]
    assert (studies["102"].prior_images, studies["102"].prior_study_id) == ((), "")


def test_reports_without_images_can_be_prepared(tmp_path: Path) -> None:
    root = tree.build(tmp_path / "gr", tree.standard_reports(), tree.standard_rows())
    dry = PrepareOptions(dry_run=True)
    summary = prepare_padchest_gr(PadChestGRSource(root=root), tmp_path / "dry", dry)
    assert counts(summary, "studies kept") == (5, 1, 2, 0)
    assert not (tmp_path / "dry").exists()
    _, studies, _ = prepare(root, tmp_path / "out", require_images=False)
    assert len(studies) == 8


@pytest.mark.parametrize("table", ["master_table.csv", "master_table.csv.zip"])
def test_the_table_is_read_as_shipped_and_unpacked(tmp_path: Path, table: str) -> None:
    root = tree.build(tmp_path, tree.standard_reports(), tree.standard_rows(), table=table)
    assert len(read_padchest_gr(PadChestGRSource(root=root)).studies) == 9


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    root = tree.build(tmp_path, tree.standard_reports(), tree.standard_rows())
    plain = read_padchest_gr(PadChestGRSource(root=root)).studies
    for name in ("grounded_reports_20240819.json", "master_table.csv"):
        content = (root / name).read_bytes().replace(b"\n", b"\r\n")
        (root / name).write_bytes(b"\xef\xbb\xbf" + content)
    assert read_padchest_gr(PadChestGRSource(root=root)).studies == plain


def test_nothing_is_written_among_the_originals(tmp_path: Path) -> None:
    root = tree.standard_tree(tmp_path / "gr")

    def state() -> list[tuple[str, int, int]]:
        return [
            (str(path), path.stat().st_mtime_ns, path.stat().st_size)
            for path in sorted(root.rglob("*"))
        ]

    before = state()
    prepare(root, tmp_path / "out")
    assert state() == before
    with pytest.raises(ConfigError, match=r"lies inside .*gr, where nothing is written"):
        prepare(root, root / "out")


def spoil(root: Path, name: str) -> str:
    """Break a tree in a documented way, and return the message."""
    reports = root / "grounded_reports_20240819.json"
    table = root / "master_table.csv"
    again = "download the file again"
    match name:
        case "no folder":
            shutil.rmtree(root)
            return f"{root}: is not a folder; give the one that holds {reports.name}"
        case "no reports":
            reports.unlink()
            return f"{root}: {reports.name} is not there; give the folder that holds it"
        case "two files of reports":
            shutil.copy(reports, root / "grounded_reports_20250101.json")
            return (
                f"{root}: holds several files of reports ({reports.name}, "
                "grounded_reports_20250101.json); keep one of them there"
            )
        case "empty reports":
            reports.write_bytes(b"")
            return f"{reports}: is empty; {again}"
        case "no entry":
            reports.write_text("[]")
            return f"{reports}: holds no report; {again}"
        case "object":
            reports.write_text("{}")
            return f"{reports}: must be one JSON list, [...]; {again}"
        case "cut off":
            reports.write_bytes(reports.read_bytes()[:1500])
            return f"{reports}: ends in the middle; {again}"
        case "latin-1 reports":
            reports.write_bytes('[\n{"sentence_es": "Mínimo"}]'.encode("latin-1"))
            return f"{reports}, line 2: not UTF-8; save the file as UTF-8, or download it again"
        case "no table":
            table.unlink()
            return (
                f"{root}: neither master_table.csv nor master_table.csv.zip is there; download it, "
                "it holds patients and splits"
            )
        case "empty table":
            table.write_bytes(b"")
            return f"{table}: is empty; {again}"
        case "header alone":
            table.write_bytes(table.read_bytes().split(b"\n")[0] + b"\n")
            return f"{table}: holds no row below its header; {again}"
        case "missing column":
            table.write_bytes(table.read_bytes().replace(b"PatientID", b"Patient", 1))
            return (
                f"{table}, line 1: column 'PatientID' is missing; it must name StudyID, ImageID, "
                "split, PatientID, StudyDate_DICOM, StudyDate, with commas between them"
            )
        case "latin-1 table":
            content = table.read_bytes().replace(b",test,", ",tést,".encode("latin-1"), 1)
            table.write_bytes(content)
            # Line 1 is the header; every row takes two, and the first of the test split is the
            # ninth, on lines 18 and 19; its split stands behind the line break.
            return f"{table}, line 19: not UTF-8; save the table as UTF-8, or download it again"
        case "rounded ids":
            table.write_bytes(table.read_bytes().replace(b",102_aaa", b"E+38,102_aaa"))
            return (
                f"{table}, line 6: field 'StudyID' is '102E+38', a number that a spreadsheet "
                f"rounded; download the table again and leave it closed"
            )
        case "truncated zip":
            table.unlink()
            rows = tree.standard_rows()
            packed = tree.write_table(root / "master_table.csv.zip", tree.MASTER_COLUMNS, rows)
            packed.write_bytes(packed.read_bytes()[:-40])
            return f"{packed}: is damaged, or not all of it is there; {again}"
        case "patient in two splits":
            rows = [*tree.standard_rows(), tree.row("401", "401_a.png", "test", "11", "20100101")]
            findings = tree.report("401", "401_a.png", tree.NO_EFFUSION)
            tree.build(root, [*tree.standard_reports(), findings], rows)
            return (
                "patient '11' stands in both train and test (study '401'); give each patient one "
                "split, or leave the split column out"
            )
        case "parts":
            for folder in ("Padchest_GR_files", "PadChest_GR_progression_prior_studies"):
                shutil.rmtree(root / folder)
            (root / "Padchest_GR_files").mkdir()
            part = root / "Padchest_GR_files/PadChest_GR.zip.001"
            part.touch()
            return (
                f"{part}: is a part of an archive, and no image is unpacked; join the parts (`cat "
                "PadChest_GR.zip.* > PadChest_GR.zip`) and unzip it"
            )
        case _:
            for path in root.rglob("*.png"):
                path.unlink()
            return (
                f"{root}: holds no image; unpack PadChest_GR.zip there, or prepare without images"
            )


@pytest.mark.parametrize(
    "name",
    [
        "no folder",
        "no reports",
        "two files of reports",
        "empty reports",
        "no entry",
        "object",
        "cut off",
        "latin-1 reports",
        "no table",
        "empty table",
        "header alone",
        "missing column",
        "latin-1 table",
        "rounded ids",
        "truncated zip",
        "patient in two splits",
        "parts",
        "no images",
    ],
)
def test_a_broken_source_is_named_in_one_line_with_a_remedy(tmp_path: Path, name: str) -> None:
    root = tree.standard_tree(tmp_path / "gr")
    message = spoil(root, name)
    with pytest.raises(DataError) as error:
        prepare(root, tmp_path / "out")
    assert str(error.value) == message


def test_a_broken_table_of_padchest_is_named(tmp_path: Path) -> None:
    root = tree.build(tmp_path / "gr", tree.standard_reports(), tree.standard_rows())
    table = tmp_path / "PADCHEST.csv"
    with pytest.raises(DataError, match=r"PADCHEST.csv: No such file.*; give a readable table$"):
        read_padchest_gr(PadChestGRSource(root=root, views=table))
    table.write_text("ImageID,StudyID\n1,2\n")
    with pytest.raises(DataError, match=r"line 1: column 'PatientID' is missing; it must name"):
        read_padchest_gr(PadChestGRSource(root=root, views=table))


def test_the_template_of_the_layout_is_read(tmp_path: Path) -> None:
    root = shared_data() / "layouts/padchest_gr"
    summary, studies, _ = prepare(root, tmp_path / "out", require_images=False)
    assert counts(summary, "studies kept") == (1, 0, 0, 0)
    (study,) = studies.values()
    assert (study.patient_id[-3:], study.time) == ("002", "2015-01-01")
    assert study.findings.count(".") == 2


def test_real_radiographs_go_through_as_16_bit_images(tmp_path: Path) -> None:
    films = sorted((shared_data() / "longitudinal_cxr/images").iterdir())[:3]

    def draw(path: Path, number: int) -> None:
        with Image.open(films[number % len(films)]) as film:
            film.convert("L").convert("I").point(lambda value: value * 16).convert("I;16").save(
                path
            )

    report = tree.report(
        "1", "1_a.png", tree.NO_EFFUSION, PreviousStudyID="9", PreviousImageID="9_a.png"
    )
    rows = [tree.row("1", "1_a.png", "test", "7", "20150601")]
    root = tree.build(tmp_path / "gr", [report], rows, draw=draw)
    how = PrepareOptions(workers=1)
    prepare_padchest_gr(PadChestGRSource(root=root), tmp_path / "out", how)
    (study,) = StudySet.load(tmp_path / "out")
    store = ImageStore.open(tmp_path / "out")
    assert [image.image_id for image in study.images] == ["1_a", "9_a"]
    sizes = [store.size(image.image_id) for image in study.images]
    assert all(262_144 <= height * width <= 401_408 for height, width in sizes)


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
