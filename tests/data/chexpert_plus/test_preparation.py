"""CheXpert Plus from a tree in its layout; every count is derived by hand."""

from pathlib import Path
from typing import Any

import pytest

from editgrpo.data.chexpert_plus import CheXpertPlusSource, read_chexpert_plus
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepare import Inclusion, PrepareOptions
from editgrpo.data.prepared.store import StudySet, read_prepared
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.redact import Redactor
from editgrpo.data.sources import prepare
from editgrpo.data.splits import SplitRule
from editgrpo.data.study import Split, Study, View
from editgrpo.data.verify import verify
from editgrpo.errors import DataError
from tests.data.pixels.dicom_files import dicom, ramp
from tests.data.trees import chexpert_plus

OPTIONS = PrepareOptions(budget=PixelBudget(min_pixels=28 * 28, max_pixels=56 * 56), workers=1)


def studies_of(folder: Path) -> dict[str, Study]:
    return {study.study_id: study for study in StudySet.load(folder)}


def test_a_tree_as_published_becomes_studies(tmp_path: Path) -> None:
    root = chexpert_plus.build(tmp_path / "root")
    summary = prepare(CheXpertPlusSource(root=root), tmp_path / "set", OPTIONS)
    studies = studies_of(tmp_path / "set")
    assert set(studies) == {"patient1_study1", "patient1_study2", "patient5_study1"}
    later = studies["patient1_study2"]
    assert (later.patient_id, later.split) == ("patient1", Split.TRAIN)
    assert [(image.image_id, image.view) for image in later.current_images] == [
        ("patient1_study2_view1_frontal", View.PA),
        ("patient1_study2_view2_lateral", View.LATERAL),
    ]
    assert later.findings == "Small left effusion. The heart is large."
    assert (later.indication, later.comparison) == ("Cough for a week.", "None.")
    assert later.impression == "Normal film."
    # The second film of the table has shade 30; 40 x 56 becomes 28 x 56.
    pixels = StudySet.load(tmp_path / "set").images.pixels("patient1_study2_view2_lateral")
    assert pixels.shape == (28, 56, 3) and pixels[-1, -1, 0] == 30
    outside = studies["patient5_study1"]
    assert (outside.split, outside.images[0].view) == (Split.VALIDATION, View.FRONTAL)
    assert outside.impression == "", "nan is nothing"
    flow = summary.flow
    assert flow.row("studies in the source").total == 6
    assert flow.row("studies kept").total == 3
    counts = {row.name: row.total for row in flow.rows}
    assert counts["no findings, impression only"] == 1
    assert counts["its rows disagree on their report"] == 1
    assert counts["no deid_patient_id"] == 1
    assert summary.split_rule == "official: train, and valid as validation"
    assert not verify(tmp_path / "set").failures
    assert read_prepared(tmp_path / "set")["dataset"] == "chexpert-plus"
    card = (tmp_path / "set" / "README.md").read_text()
    assert "Stanford University Dataset Research Use Agreement" in card
    assert "Do not share this folder" in card


def test_the_report_before_gives_the_prior_and_no_days(tmp_path: Path) -> None:
    root = chexpert_plus.build(tmp_path / "root")
    studies = {
        one.study_id: one for one in read_chexpert_plus(CheXpertPlusSource(root=root)).studies
    }
    later, first = studies["patient1_study2"], studies["patient1_study1"]
    assert later.prior_study_id == "patient1_study1"
    assert [image.image_id for image in later.prior_images] == ["patient1_study1_view1_frontal"]
    assert not first.prior_images
    # A position among reports is no time: nothing may say that the prior was a day before.
    assert (later.time, later.prior_time, first.time) == ("", "", "")
    alone = read_chexpert_plus(CheXpertPlusSource(root=root, priors=False)).studies
    assert not any(one.prior_images or one.prior_study_id for one in alone)


def test_impressions_and_patients_can_be_taken_otherwise(tmp_path: Path) -> None:
    root = chexpert_plus.build(tmp_path / "root")
    kept = Inclusion(require_findings=False, require_impression=True, require_images=False)
    options = PrepareOptions(inclusion=kept, dry_run=True)
    summary = prepare(CheXpertPlusSource(root=root), tmp_path / "set", options)
    # Impressions: both of patient 1, patient 2.
    assert summary.flow.row("studies kept").total == 3
    everyone = SplitRule(train=0, validation=0, test=1)
    drawn = read_chexpert_plus(
        CheXpertPlusSource(root=root, draw_splits=True),
        ReadOptions(split_rule=everyone),
    )
    assert {one.split for one in drawn.studies} == {Split.TEST}
    assert drawn.split_rule == everyone.describe()
    fall = next(one for one in drawn.studies if one.study_id == "patient2_study1")
    assert fall.indication == "Fall."


@pytest.mark.parametrize(
    ("films", "option"),
    [("PNG/PNG", None), ("PNG", None), ("", None), ("DICOM", None), ("elsewhere", "elsewhere")],
)
def test_films_are_found_however_the_archive_was_unpacked(
    tmp_path: Path, films: str, option: str | None
) -> None:
    root = chexpert_plus.build(tmp_path / "root", films=films)
    images = None if option is None else root / option
    prepare(CheXpertPlusSource(root=root, images=images), tmp_path / "set", OPTIONS)
    assert len(studies_of(tmp_path / "set")) == 3


def test_dicom_films_are_read(tmp_path: Path) -> None:
    def paint(path: Path, shade: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(ramp(8)))

    rows = [chexpert_plus.row("train/patient1/study1/view1_frontal")]
    root = chexpert_plus.build(tmp_path / "r", rows, films="DICOM", suffix=".dcm", paint=paint)
    prepare(CheXpertPlusSource(root=root), tmp_path / "set", OPTIONS)
    assert len(studies_of(tmp_path / "set")) == 1


def test_ids_can_be_hidden(tmp_path: Path) -> None:
    root = chexpert_plus.build(tmp_path / "root")
    redactor = Redactor.from_key_file(tmp_path / "key", outside=[])
    options = PrepareOptions(budget=OPTIONS.budget, workers=1, redactor=redactor)
    prepare(CheXpertPlusSource(root=root), tmp_path / "set", options)
    content = b"".join(path.read_bytes() for path in (tmp_path / "set").rglob("*.arrow"))
    assert b"patient1" not in content and redactor.identifier("patient1").encode() in content


def fault(root: Path, **fields: Any) -> Path:
    return chexpert_plus.build(
        root, [chexpert_plus.row("train/patient1/study1/view1_frontal", **fields)]
    )


def test_what_is_wrong_with_a_table_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no table; download df_chexpert_plus_240401\.csv"):
        read_chexpert_plus(CheXpertPlusSource(root=tmp_path))
    odd = chexpert_plus.row("train/patient1/study1/view1_frontal", path_to_image="a/b.jpg")
    root = tmp_path / "odd"
    chexpert_plus.build(root, [odd])
    with pytest.raises(DataError, match=r"line 2: path_to_image is 'a/b\.jpg'; it must look like"):
        read_chexpert_plus(CheXpertPlusSource(root=root))
    with pytest.raises(DataError, match="split is 'later'"):
        read_chexpert_plus(CheXpertPlusSource(root=fault(tmp_path / "split", split="later")))
    short = chexpert_plus.build(tmp_path / "short")
    table = short / "df_chexpert_plus_240401.csv"
    table.write_text(table.read_text().replace("section_impression", "impression"))
    with pytest.raises(DataError, match="column 'section_impression' is missing"):
        read_chexpert_plus(CheXpertPlusSource(root=short))


def test_a_named_table_and_another_date_are_taken(tmp_path: Path) -> None:
    root = chexpert_plus.build(tmp_path / "root")
    table = root / "df_chexpert_plus_240401.csv"
    later = table.rename(root / "df_chexpert_plus_260101.csv")
    assert len(read_chexpert_plus(CheXpertPlusSource(root=root)).studies) == 4
    (tmp_path / "apart").mkdir()
    apart = later.rename(tmp_path / "apart" / "table.csv")
    assert len(read_chexpert_plus(CheXpertPlusSource(root=root, table=apart)).studies) == 4
