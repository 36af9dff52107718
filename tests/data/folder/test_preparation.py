import csv
import gzip
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from editgrpo.data import sources
from editgrpo.data.folder import TableSource, read_folder
from editgrpo.data.prepare import PrepareOptions, PrepareSummary
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.splits import SplitRule
from editgrpo.data.study import Split, Study, Timepoint, View
from editgrpo.data.views import parse_view_names
from editgrpo.errors import ConfigError, DataError
from tests.builders import shared_data
from tests.data.accounts import fact, images_left_out, kept, left_out, options, seen

USUAL = options()
ONE_ROW_AN_IMAGE = {"study_id": "study", "image": "file", "findings": "text", "view": "view"}


def write_table(folder: Path, header: str, *rows: str) -> Path:
    """Write a CSV table, and a small image for every cell that ends in .png."""
    folder.mkdir(exist_ok=True)
    for cell in ",".join(rows).split(","):
        if cell.endswith(".png"):
            Image.new("L", (8, 8)).save(folder / cell)
    (folder / "table.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return folder / "table.csv"


def write_dicom(path: Path) -> None:
    """Write a small uncompressed 12-bit radiograph."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"  # digital X-ray, for presentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    film = Dataset()
    film.file_meta = meta
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    film.Rows = film.Columns = 8
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.PixelData = b"".join((64 * k).to_bytes(2, "little") for k in range(64))
    film.save_as(path, enforce_file_format=True)


def prepare(
    table: Path, columns: dict[str, str], how: PrepareOptions = USUAL, **more: object
) -> tuple[PrepareSummary, dict[str, Study]]:
    output = table.parent / "studies"
    rule = more.pop("split_rule", None)
    source = TableSource(table=table, columns=columns, **more)
    summary = sources.prepare(source, output, how, split_rule=rule)
    return summary, {study.study_id: study for study in StudySet.load(output)}


def test_rows_of_one_study_are_put_together(tmp_path: Path) -> None:
    table = write_table(
        tmp_path,
        "study,file,view,text",
        "s1,a.png,PA,Clear lungs.",
        "s2,c.png,AP supine,Small effusion.",
        "s1,b.png,LL,",
    )
    summary, studies = prepare(table, ONE_ROW_AN_IMAGE)
    assert (seen(summary), kept(summary), fact(summary, "rows")) == (2, 2, 3)
    assert [(i.image_id, i.view) for i in studies["s1"].images] == [
        ("a.png", View.PA),
        ("b.png", View.LATERAL),
    ]
    assert studies["s1"].findings == "Clear lungs."
    assert studies["s2"].images[0].view is View.AP
    assert studies["s1"].patient_id == "s1"  # no patient column: a patient of its own


def test_a_row_may_be_a_whole_study(tmp_path: Path) -> None:
    table = write_table(
        tmp_path,
        "id,pid,front,side,why,how,before,found,said",
        "1,p,a.png,b.png,Cough.,Two views.,None.,Clear.,Normal.",
        "2,p,c.png,,,,,Clear.,",
    )
    summary, studies = prepare(
        table,
        {
            "study_id": "id",
            "patient_id": "pid",
            "image": "front,side",
            "view": "=PA,=lateral",
            "indication": "why",
            "technique": "how",
            "comparison": "before",
            "findings": "found",
            "impression": "said",
        },
    )
    first = studies["1"]
    assert fact(summary, "images shown, prior ones included") == 3
    assert [image.view for image in first.images] == [View.PA, View.LATERAL]
    assert (first.indication, first.technique, first.comparison) == (
        "Cough.",
        "Two views.",
        "None.",
    )
    assert (first.findings, first.impression) == ("Clear.", "Normal.")


def test_json_lines_with_lists_are_read(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    rows = [{"study": 1, "file": ["a.png", "b.png"], "view": ["PA", "LAT"], "text": "Clear."}]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    _, studies = prepare(tmp_path / "t.jsonl", ONE_ROW_AN_IMAGE)
    assert [image.view for image in studies["1"].images] == [View.PA, View.LATERAL]


def test_prior_images_come_from_the_most_recent_earlier_study(tmp_path: Path) -> None:
    table = write_table(
        tmp_path,
        "study,file,view,text,patient,date",
        "late,c.png,PA,Clear.,p,2024-03-01",
        "early,a.png,PA,Clear.,p,2023-12-31",
        "middle,b.png,AP,,p,2024-02-29T08:15:00",
        "undated,d.png,PA,Clear.,p,?",
        "unknown,e.png,PA,Clear.,p,N/A",
    )
    columns = ONE_ROW_AN_IMAGE | {"patient_id": "patient", "time": "date"}
    summary, studies = prepare(table, columns)
    # The middle study has no findings and is left out, but its image is what the reader compared.
    assert set(studies) == {"late", "early", "undated", "unknown"}
    assert [(i.image_id, i.timepoint) for i in studies["late"].images] == [
        ("c.png", Timepoint.CURRENT),
        ("b.png", Timepoint.PRIOR),
    ]
    assert len(studies["early"].images) == len(studies["undated"].images) == 1
    assert (studies["late"].time, studies["late"].prior_time) == (
        "2024-03-01",
        "2024-02-29T08:15:00",
    )
    assert studies["late"].prior_study_id == "middle"
    assert studies["undated"].time == studies["unknown"].time == ""
    assert (fact(summary, "studies with prior images"), fact(summary, "with a time")) == (1, 3)


def test_eight_digits_are_a_date_and_not_a_number_of_days(tmp_path: Path) -> None:
    table = write_table(
        tmp_path,
        "study,file,view,text,patient,date",
        "late,c.png,PA,Clear.,p,20240401",
        "early,a.png,PA,Clear.,p,20240331.0",
        "middle,b.png,PA,Clear.,p,2024-03-31",
    )
    columns = ONE_ROW_AN_IMAGE | {"patient_id": "patient", "time": "date"}
    _, studies = prepare(table, columns)
    assert [studies[name].time for name in ("early", "middle", "late")] == [
        "2024-03-31",
        "2024-03-31",
        "2024-04-01",
    ]
    assert studies["late"].prior_study_id == "early"
    assert not studies["middle"].prior_study_id


def test_a_day_is_no_prior_of_a_time_of_it_however_both_are_written(tmp_path: Path) -> None:
    table = write_table(
        tmp_path,
        "study,file,view,text,patient,date",
        "day,a.png,PA,Clear.,p,2024-03-31 00:00:00.000",
        "same,b.png,PA,Clear.,p,20240331",
        "time,c.png,PA,Clear.,p,20240331T0815",
        "equal,d.png,PA,Clear.,p,2024-03-31 08:15:00.000",
        "next,e.png,PA,Clear.,p,2024-04-01T00:00",
    )
    columns = ONE_ROW_AN_IMAGE | {"patient_id": "patient", "time": "date"}
    _, studies = prepare(table, columns)
    assert {name: study.prior_study_id for name, study in studies.items()} == {
        "day": "",
        "same": "",
        "time": "",
        "equal": "",
        "next": "time",
    }
    assert studies["equal"].time == "2024-03-31T08:15:00"
    assert studies["next"].time == "2024-04-01"


def test_a_split_column_is_used_as_it_is(tmp_path: Path) -> None:
    table = write_table(
        tmp_path, "study,file,view,text,part", "s,a.png,PA,Clear.,VAL", "t,b.png,PA,Clear.,Training"
    )
    summary, studies = prepare(table, ONE_ROW_AN_IMAGE | {"split": "part"})
    assert (studies["s"].split, studies["t"].split) == (Split.VALIDATION, Split.TRAIN)
    assert summary.split_rule == "column 'part'"


def test_without_a_split_column_patients_are_split_by_the_rule(tmp_path: Path) -> None:
    rows = [f"s{k},{k}.png,PA,Clear.,p{k // 2}" for k in range(20)]
    table = write_table(tmp_path, "study,file,view,text,patient", *rows)
    rule = SplitRule(seed=1, train=0.5, validation=0.2, test=0.3)
    summary, studies = prepare(table, ONE_ROW_AN_IMAGE | {"patient_id": "patient"}, split_rule=rule)
    assert all(study.split is rule.split_of(study.patient_id) for study in studies.values())
    assert summary.split_rule == "by patient, seed 1: 50% train, 20% validation, 30% test"


def test_white_space_is_tidied_and_marks_for_nothing_are_empty(tmp_path: Path) -> None:
    table = write_table(
        tmp_path, "study,file,view,text,why", 's,a.png,PA,"  Clear \n lungs. ",?', "t,b.png,PA,-,x"
    )
    summary, studies = prepare(table, ONE_ROW_AN_IMAGE | {"indication": "why"})
    assert (studies["s"].findings, studies["s"].indication) == ("Clear lungs.", "")
    assert left_out(summary) == {"no findings": 1}


def test_studies_that_cannot_be_put_together_are_left_out_with_a_reason(tmp_path: Path) -> None:
    table = write_table(
        tmp_path,
        "study,file,view,text,patient",
        "s1,a.png,PA,Clear.,p",
        "s2,b.png,PA,Clear.,p",
        "s2,c.png,PA,Effusion.,p",
        "s3,d.png,PA,Clear.,p",
        "s3,e.png,PA,Clear.,q",
        ",f.png,PA,Clear.,p",
        "s4,g.png,PA,Clear.,",
    )
    summary, studies = prepare(table, ONE_ROW_AN_IMAGE | {"patient_id": "patient"})
    assert set(studies) == {"s1"}
    assert seen(summary) == 5
    assert left_out(summary) == {
        "no study_id": 1,
        "its rows disagree on findings": 1,
        "its rows disagree on patient_id": 1,
        "no patient_id": 1,
    }
    rejected = (tmp_path / "studies" / "rejected.jsonl").read_text()
    assert '"(line 7)"' in rejected


@pytest.mark.parametrize(
    ("row", "mapping", "message"),
    [
        (
            "s,a.png,PA,Clear.,tomorrow",
            {"time": "extra"},
            r"line 2: time is 'tomorrow'; give a num",
        ),
        ("s,a.png,PA,Clear.,inf", {"time": "extra"}, "line 2: time is 'inf'"),
        ("s,a.png,PA,Clear.,", {"time": "extra"}, "the time column is empty"),
        (
            "s,a.png,PA,Clear.,7\nt,a.png,PA,Clear.,2024-01-01",
            {"time": "extra"},
            "line 3: time is a date, but a number earlier in the column",
        ),
        (
            "s,a.png,PA,Clear.,20240331\nt,a.png,PA,Clear.,20240332",
            {"time": "extra"},
            "line 3: time is a number, but a date earlier in the column",
        ),
        ("s,a.png,PA,Clear.,trian", {"split": "extra"}, "line 2: split is 'trian'; did you mean"),
        ("s,a.png,PA,Clear.,", {"split": "extra"}, "study 's': split is ''"),
        (
            "s,a.png,PA,Clear.,train\nt,a.png,PA,Clear.,test",
            {"split": "extra", "patient_id": "text"},
            "patient 'Clear.' is in both train and test",
        ),
    ],
)
def test_cells_that_cannot_be_understood_are_named(
    tmp_path: Path, row: str, mapping: dict[str, str], message: str
) -> None:
    table = write_table(tmp_path, "study,file,view,text,extra", row)
    with pytest.raises(DataError, match=message) as caught:
        prepare(table, ONE_ROW_AN_IMAGE | mapping)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "studies" / "prepared.json").exists()


@pytest.mark.slow
def test_the_longitudinal_set_is_prepared(tmp_path: Path) -> None:
    folder = shared_data() / "longitudinal_cxr"
    columns = {
        "study_id": "out",
        "patient_id": "patientid",
        "image": "out",
        "view": "view",
        "time": "offset",
        "findings": "clinical_notes",
    }
    source = TableSource(table=folder / "manifest.csv", columns=columns, images=folder / "images")
    summary = sources.prepare(source, tmp_path / "studies", USUAL)
    # The sample: 353 images, 249 of them with notes; every image decodes.
    assert (seen(summary), kept(summary), images_left_out(summary)) == (353, 249, {})
    # Independent count: with a note, a time, and another image of the patient at an earlier time.
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    timed = [row for row in rows if row["offset"].lstrip("-").isdecimal()]
    assert fact(summary, "with a time") == len(timed)
    first_time = {
        row["patientid"]: min(
            int(other["offset"]) for other in timed if other["patientid"] == row["patientid"]
        )
        for row in timed
    }
    followed = [row for row in timed if int(row["offset"]) > first_time[row["patientid"]]]
    noted = sum(bool(row["clinical_notes"].strip()) for row in followed)
    assert fact(summary, "studies with prior images") == noted > 0


def test_studies_without_findings_can_be_kept_for_generation(tmp_path: Path) -> None:
    table = write_table(tmp_path, "study,file,view,text", "s,a.png,PA,")
    summary, _ = prepare(table, ONE_ROW_AN_IMAGE, options(require_findings=False))
    assert kept(summary) == 1


def test_a_table_without_images_can_be_prepared_for_work_on_reports(tmp_path: Path) -> None:
    table = write_table(tmp_path, "study,text", "s,Clear lungs.")
    columns = {"study_id": "study", "findings": "text"}
    summary, _ = prepare(table, columns, options(require_images=False))
    assert (kept(summary), fact(summary, "images shown, prior ones included")) == (1, 0)
    with pytest.raises(ConfigError, match="no column is mapped to 'image'"):
        prepare(table, columns)


def test_an_image_is_named_by_its_path_from_the_folder_of_images_on(tmp_path: Path) -> None:
    films = tmp_path / "films"
    for path in (films / "p 1" / "a.png", films / "b.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    rows = [
        "s1,p 1/a.png,PA,Clear.",
        "s1,./p 1//a.png,LAT,Clear.",
        f"s2,{films / 'b.png'},PA,Clear.",
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["study,file,view,text", *rows]), encoding="utf-8")
    summary, studies = prepare(table, ONE_ROW_AN_IMAGE, images=films)
    # The first two rows of s1 name one image; the view of the first row counts.
    assert [(i.image_id, i.view) for i in studies["s1"].images] == [("p 1/a.png", View.PA)]
    assert [i.image_id for i in studies["s2"].images] == ["b.png"]
    assert images_left_out(summary) == {}
    images = StudySet.load(tmp_path / "studies").images
    assert set(images) == {"p 1/a.png", "b.png"}


def test_a_compressed_table_with_foreign_line_ends_gives_the_same_studies(tmp_path: Path) -> None:
    table = write_table(tmp_path, "study,file,view,text", "s,a.png,PA,Clear.", "t,b.png,LL,Clear.")
    _, plain = prepare(table, ONE_ROW_AN_IMAGE)
    content = b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n")
    packed = tmp_path / "packed" / "table.csv.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(content))
    _, studies = prepare(packed, ONE_ROW_AN_IMAGE, images=tmp_path)
    assert studies == plain


def test_unreadable_images_are_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    table = write_table(
        tmp_path,
        "study,file,view,text,part",
        "s,a.png,PA,Clear.,train",
        "s,b.png,LL,Clear.,train",
        "t,c.png,PA,Clear.,test",
    )
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.png").unlink()
    summary, studies = prepare(table, ONE_ROW_AN_IMAGE | {"split": "part"})
    assert [image.image_id for image in studies["s"].images] == ["a.png"]
    assert set(studies) == {"s"}
    assert left_out(summary) == {"no readable current image": 1}
    lines = (tmp_path / "studies" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    listed = {(row["study_id"], row["split"], row["image"]) for row in map(json.loads, lines)}
    assert listed == {("s", "train", "b.png"), ("t", "test", "c.png"), ("t", "test", None)}


def test_the_account_tells_the_splits_apart(tmp_path: Path) -> None:
    table = write_table(
        tmp_path,
        "study,file,view,text,part,patient",
        "s,a.png,PA,Clear.,train,p",
        "s,b.png,LL,Clear.,train,p",
        "t,c.png,PA,,test,q",
        "u,d.png,PA,Clear.,test,r",
        "v,e.png,PA,Clear.,test,r",
        "v,f.png,PA,Other.,test,r",
        "w,g.png,PA,Clear.,test,",
    )
    summary, _ = prepare(table, ONE_ROW_AN_IMAGE | {"split": "part", "patient_id": "patient"})
    train_and_test = {
        row.name: (row.counts.get(Split.TRAIN, 0), row.counts.get(Split.TEST, 0), row.total)
        for row in summary.flow.rows
    }
    expected = {
        "studies in the source": (1, 4, 5),
        "rows": (2, 2, 4),  # of the studies that could be put together
        "with findings": (1, 1, 2),
        "no findings": (0, 1, 1),
        "its rows disagree on findings": (0, 1, 1),
        "no patient_id": (0, 1, 1),
        "studies kept": (1, 1, 2),
    }
    assert expected.items() <= train_and_test.items()


def test_dicom_originals_are_images_as_any_other(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm")
    Image.new("L", (8, 8)).save(tmp_path / "b.png")
    table = write_table(tmp_path, "study,file,view,text", "s,a.dcm,PA,Clear.", "s,b.png,LL,Clear.")
    summary, studies = prepare(table, ONE_ROW_AN_IMAGE)
    assert [image.image_id for image in studies["s"].images] == ["a.dcm", "b.png"]
    assert images_left_out(summary) == {}


@pytest.mark.slow
def test_a_table_of_the_size_of_mimic_is_read_in_less_than_a_minute(tmp_path: Path) -> None:
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("study", "patient", "file", "view", "date", "text"))
        for k in range(400_000):
            study, patient = k // 2, k // 6
            date = f"2150-01-{1 + study % 3:02d}T10:15:30.125"
            view = ("PA", "LATERAL")[k % 2]
            writer.writerow((study, patient, f"p{patient}/{k}.jpg", view, date, "Clear lungs."))
    source = TableSource(
        table=tmp_path / "table.csv",
        columns=ONE_ROW_AN_IMAGE | {"patient_id": "patient", "time": "date"},
    )
    start = time.process_time()
    candidates = read_folder(source)
    assert time.process_time() - start < 60
    assert (len(candidates.studies), len(candidates.image_files)) == (200_000, 400_000)
    # Of three studies of a patient on three days, two have a prior; 200,000 = 3 * 66,666 + 2.
    assert sum(bool(s.prior_study_id) for s in candidates.studies) == 2 * 66_666 + 1


TIMED = {"study_id": "study", "image": "file", "findings": "text", "time": "day"}
DAYS = ("31.03.2024", "01.04.2024", "31.02.2024")


def timed_table(folder: Path, *days: str) -> Path:
    rows = (f"s{k},{k}.png,Clear.,{day}" for k, day in enumerate(days))
    return write_table(folder, "study,file,text,day", *rows)


def test_times_are_read_in_a_form_of_ones_own(tmp_path: Path) -> None:
    table = timed_table(tmp_path / "in", "31.03.2024", "01.04.2024 08:15")
    with pytest.raises(DataError, match=r"2 cells cannot be used: line 2: time is '31\.03\.2024'"):
        prepare(table, TIMED)
    with pytest.raises(DataError, match=r"line 3: time is .*; the date format is '%d\.%m\.%Y'"):
        prepare(table, TIMED, date_format="%d.%m.%Y")
    whole = timed_table(tmp_path / "whole", *DAYS[:2])
    _, studies = prepare(whole, TIMED, date_format="%d.%m.%Y")
    assert {study.time for study in studies.values()} == {"2024-03-31", "2024-04-01"}


def test_cells_that_cannot_be_used_are_counted_and_told_together(tmp_path: Path) -> None:
    """Seven times of eight: five are shown, two are counted."""
    table = timed_table(tmp_path / "in", "2024-03-31", *(f"{k}/3/24" for k in range(7)))
    with pytest.raises(DataError) as told:
        prepare(table, TIMED)
    assert str(told.value) == (
        f"{table}: 7 cells cannot be used: line 3: time is '0/3/24', line 4: time is '1/3/24', "
        "line 5: time is '2/3/24', line 6: time is '3/3/24', line 7: time is '4/3/24', and 2 more; "
        "give a number, such as days, or a date as 2024-03-31 or 2024-03-31T08:15; "
        "`prepare folder` and `prepare hf` read others by --date-format, such as %d.%m.%Y"
    )
    assert not (tmp_path / "in/studies").exists()


def test_view_names_of_ones_own_go_before_all_others(tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "in",
        "study,file,text,view",
        "s,a.png,Clear.,Portable-Chest",
        "s,b.png,Clear.,PA",
        "s,c.png,Clear.,room 7",
    )
    names = parse_view_names(["portable chest=ap", "PA=lateral"])
    summary, studies = prepare(table, ONE_ROW_AN_IMAGE, view_names=names)
    assert {image.view for image in studies["s"].images} == {View.AP, View.LATERAL, View.UNKNOWN}
    assert summary.unrecognised_views == {"ROOM 7": 1}


@pytest.mark.parametrize("item", ["PORTABLE CHEST", "=AP", "PORTABLE CHEST=chest"])
def test_a_view_name_that_says_no_view_is_refused(item: str) -> None:
    with pytest.raises(ConfigError, match="must look like 'PORTABLE CHEST=AP'; views are frontal"):
        parse_view_names([item])


def test_a_dry_run_finds_a_wrong_folder_of_images(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in", "study,file,text,view", "s,a.png,Clear.,PA")
    dry = replace(USUAL, dry_run=True)
    source = TableSource(table=table, columns=ONE_ROW_AN_IMAGE)
    assert sources.prepare(source, tmp_path / "out", dry).flow
    with pytest.raises(DataError, match=r"a\.png: image file is missing, as are all 1; give the"):
        sources.prepare(replace(source, images=tmp_path / "elsewhere"), tmp_path / "out", dry)
    reports = replace(dry, inclusion=replace(dry.inclusion, require_images=False))
    sources.prepare(replace(source, images=tmp_path / "elsewhere"), tmp_path / "out", reports)
    assert not (tmp_path / "out").exists()
