import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from editgrpo.data.folder import TableSource, prepare_folder
from editgrpo.data.prepare import Inclusion, PrepareSummary
from editgrpo.data.splits import SplitRule
from editgrpo.data.store import StudySet
from editgrpo.data.study import Split, Study, Timepoint, View
from editgrpo.errors import ConfigError, DataError
from tests.builders import shared_data

ONE_ROW_AN_IMAGE = {"study_id": "study", "image": "file", "findings": "text", "view": "view"}


def write_table(folder: Path, header: str, *rows: str) -> Path:
    """Write a CSV table, and a small image for every cell that ends in .png."""
    folder.mkdir(exist_ok=True)
    for cell in ",".join(rows).split(","):
        if cell.endswith(".png"):
            Image.new("L", (8, 8)).save(folder / cell)
    (folder / "table.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return folder / "table.csv"


def prepare(
    table: Path, columns: dict[str, str], **options: object
) -> tuple[PrepareSummary, dict[str, Study]]:
    output = table.parent / "studies"
    source_names = ("images", "separator", "delimiter", "encoding")
    source = {name: options.pop(name) for name in source_names if name in options}
    summary = prepare_folder(TableSource(table=table, columns=columns, **source), output, **options)
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
    assert (summary.seen, summary.kept, summary.facts["rows"]) == (2, 2, 3)
    assert [(Path(i.path).name, i.view) for i in studies["s1"].images] == [
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
    assert summary.images == 3
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
    assert [(Path(i.path).name, i.timepoint) for i in studies["late"].images] == [
        ("c.png", Timepoint.CURRENT),
        ("b.png", Timepoint.PRIOR),
    ]
    assert len(studies["early"].images) == len(studies["undated"].images) == 1
    assert (summary.with_prior, summary.facts["with a time"]) == (1, 3)


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
    assert summary.dropped == {"no findings": 1}


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
    assert summary.seen == 5
    assert summary.dropped == {
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
            "line 3: time is a date, but a number further up",
        ),
        ("s,a.png,PA,Clear.,trian", {"split": "extra"}, "line 2: split is 'trian'; did you mean"),
        ("s,a.png,PA,Clear.,", {"split": "extra"}, "study 's': split is ''"),
        (
            "s,a.png,PA,Clear.,train\nt,a.png,PA,Clear.,test",
            {"split": "extra", "patient_id": "text"},
            "patient 'Clear.' stands in both train and test",
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
    assert not (tmp_path / "studies" / "studies.jsonl").exists()


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
    summary = prepare_folder(source, tmp_path)
    # datasets.md: 353 images, 249 of them with notes; every image decodes.
    assert (summary.seen, summary.kept, summary.images_left_out) == (353, 249, {})
    # Independent count: with a note, a time, and another image of the patient at an earlier time.
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    timed = [row for row in rows if row["offset"].lstrip("-").isdecimal()]
    assert summary.facts["with a time"] == len(timed)
    first_time = {
        row["patientid"]: min(
            int(other["offset"]) for other in timed if other["patientid"] == row["patientid"]
        )
        for row in timed
    }
    followed = [row for row in timed if int(row["offset"]) > first_time[row["patientid"]]]
    assert summary.with_prior == sum(bool(row["clinical_notes"].strip()) for row in followed) > 0


def test_studies_without_findings_can_be_kept_for_generation(tmp_path: Path) -> None:
    table = write_table(tmp_path, "study,file,view,text", "s,a.png,PA,")
    summary, _ = prepare(table, ONE_ROW_AN_IMAGE, inclusion=Inclusion(require_findings=False))
    assert summary.kept == 1


def test_a_table_without_images_can_be_prepared_for_work_on_reports(tmp_path: Path) -> None:
    table = write_table(tmp_path, "study,text", "s,Clear lungs.")
    columns = {"study_id": "study", "findings": "text"}
    summary, _ = prepare(table, columns, inclusion=Inclusion(require_images=False))
    assert (summary.kept, summary.images) == (1, 0)
    with pytest.raises(ConfigError, match="no column is mapped to 'image'"):
        prepare(table, columns)
