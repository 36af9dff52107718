"""Data sets as they lie on the Hugging Face Hub: Parquet files and a card, written here by hand."""

import io
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from editgrpo.data.huggingface import HuggingFaceSource, read_huggingface
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepare import PrepareOptions
from editgrpo.data.prepared.store import StudySet, read_prepared
from editgrpo.data.redact import Redactor
from editgrpo.data.sources import prepare
from editgrpo.data.splits import SplitRule
from editgrpo.data.study import Split, Timepoint, View
from editgrpo.data.verify import verify
from editgrpo.errors import ConfigError, DataError

SMALL = PixelBudget(min_pixels=28 * 28, max_pixels=56 * 56)
FILM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# The card of a data set of films and sections on the Hub, as `push_to_hub` writes it.
CARD = """\
---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: findings
    dtype: string
  - name: impression
    dtype: string
  splits:
  - name: train
    num_bytes: 400
    num_examples: 2
  - name: test
    num_bytes: 200
    num_examples: 1
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
---
"""


def png(shade: int) -> bytes:
    content = io.BytesIO()
    pixels = np.full((40, 56), shade, dtype=np.uint8)
    pixels[:8, :8] = 255
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def film(shade: int, path: str | None = None) -> dict[str, Any]:
    return {"bytes": png(shade), "path": path}


def write(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=1)


@pytest.fixture
def films_of_the_hub(tmp_path: Path) -> Path:
    root = tmp_path / "films"
    rows = {
        "train-00000-of-00002": [(20, "The heart is large.", "Cardiomegaly.")],
        "train-00001-of-00002": [(60, "", "Normal.")],
        "test-00000-of-00001": [(100, "Clear lungs.", None)],
    }
    for name, values in rows.items():
        shades, findings, impressions = zip(*values, strict=True)
        write(
            root / "data" / f"{name}.parquet",
            {
                "image": pa.array([film(shade) for shade in shades], FILM),
                "findings": pa.array(findings, pa.string()),
                "impression": pa.array(impressions, pa.string()),
            },
        )
    (root / "README.md").write_text(CARD)
    return root


def source(root: Path, **changes: Any) -> HuggingFaceSource:
    return HuggingFaceSource(name=str(root), cache=root.parent / "cache", **changes)


def options(**changes: Any) -> PrepareOptions:
    return PrepareOptions(budget=SMALL, workers=1, **changes)


def test_films_and_sections_of_a_data_set_become_studies(
    films_of_the_hub: Path, tmp_path: Path
) -> None:
    summary = prepare(source(films_of_the_hub), tmp_path / "set", options())
    studies = StudySet.load(tmp_path / "set")
    # A row is a study of its own patient; the one without findings is left out.
    assert [(s.study_id, s.patient_id, s.split, s.findings, s.impression) for s in studies] == [
        ("train-0", "train-0", Split.TRAIN, "The heart is large.", "Cardiomegaly."),
        ("test-0", "test-0", Split.TEST, "Clear lungs.", ""),
    ]
    assert summary.flow.row("studies in the source").total == 3
    assert summary.split_rule == "the data set's own: train, test"
    # 40 x 56 becomes 28 x 56: the shade of the film, not of another row's.
    for study, shade in zip(studies, (20, 100), strict=True):
        pixels = studies.images.pixels(study.images[0].image_id)
        assert pixels.shape == (28, 56, 3) and pixels[-1, -1, 0] == shade
    assert not verify(tmp_path / "set").failures
    assert read_prepared(tmp_path / "set")["dataset"] == "huggingface"
    card = (tmp_path / "set" / "README.md").read_text()
    assert "data set's own card" in card and "may be shared" in card


@pytest.fixture
def reports_of_the_hub(tmp_path: Path) -> Path:
    """Columns of ids, lists of paths, days, in the form of a set of structured reports."""
    root = tmp_path / "reports"
    for name in ("a.png", "b.png", "c.png"):
        path = root / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(40 + ord(name[0])))
    write(
        root / "data" / "train-00000-of-00001.parquet",
        {
            "id": pa.array([1, 2], pa.int64()),
            "subject_id": pa.array([7, 7], pa.int64()),
            "history_section": pa.array(["Cough.", None]),
            "findings_section": pa.array(["Clear.", "Effusion on the left."]),
            "image_paths": pa.array([["a.png"], ["b.png", "c.png"]], pa.list_(pa.string())),
            "views": pa.array([["PA"], ["PA", "LATERAL"]], pa.list_(pa.string())),
            "taken": pa.array(["2020-01-01", "2020-03-01"]),
        },
    )
    return root


COLUMNS = {
    "study_id": "id",
    "indication": "history_section",
    "findings": "findings_section",
    "image": "image_paths",
    "view": "views",
    "time": "taken",
}


def test_paths_views_and_days_are_read_as_from_a_table_of_ones_own(
    reports_of_the_hub: Path, tmp_path: Path
) -> None:
    mine = source(reports_of_the_hub, columns=COLUMNS, image_folder=reports_of_the_hub / "films")
    prepare(mine, tmp_path / "set", options(), split_rule=SplitRule(train=1, validation=0, test=0))
    first, second = StudySet.load(tmp_path / "set")
    assert (first.study_id, first.patient_id, first.indication) == ("1", "7", "Cough.")
    assert [(image.image_id, image.view) for image in second.current_images] == [
        ("b.png", View.PA), ("c.png", View.LATERAL),
    ]  # fmt: skip
    assert second.prior_study_id == "1" and second.prior_time == "2020-01-01"
    assert [(i.image_id, i.timepoint) for i in second.prior_images] == [("a.png", Timepoint.PRIOR)]
    with pytest.raises(ConfigError, match="nothing is written"):
        prepare(mine, reports_of_the_hub / "set", options())


def test_one_split_is_drawn_by_patient_and_several_are_the_sets_own(
    reports_of_the_hub: Path, films_of_the_hub: Path
) -> None:
    drawn = read_huggingface(source(reports_of_the_hub, columns=COLUMNS))
    assert drawn.split_rule.startswith("by patient, seed 0")
    assert len({study.split for study in drawn.studies}) == 1, "both are of one patient"
    own = read_huggingface(source(films_of_the_hub, splits={"test": "validation"}))
    assert own.split_rule == "the data set's own: train, test as validation"
    assert [study.split for study in own.studies] == [Split.TRAIN] * 2 + [Split.VALIDATION]
    anew = read_huggingface(source(films_of_the_hub, draw_splits=True))
    assert anew.split_rule == drawn.split_rule


def test_lists_of_films_keep_their_order(tmp_path: Path) -> None:
    root = tmp_path / "lists"
    films = [[film(20), film(40, "side.png")], [], [film(60)]]
    write(
        root / "data" / "train-00000-of-00001.parquet",
        {
            "images": pa.array(films, pa.list_(FILM)),
            "findings": pa.array(["One.", "Two.", "Three."]),
        },
    )
    (root / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: images\n    sequence: image\n"
        "  - name: findings\n    dtype: string\n  splits:\n  - name: train\n    num_bytes: 600\n"
        "    num_examples: 3\n---\n"
    )
    prepare(source(root), tmp_path / "set", options())
    studies = {study.study_id: study for study in StudySet.load(tmp_path / "set")}
    assert set(studies) == {"train-0", "train-2"}, "no image listed in the second row"
    images = StudySet.load(tmp_path / "set").images
    shades = [int(images.pixels(i.image_id)[-1, -1, 0]) for i in studies["train-0"].images]
    assert shades == [20, 40]
    (third,) = studies["train-2"].images
    assert images.pixels(third.image_id)[-1, -1, 0] == 60


def test_saved_data_sets_labels_and_dates(tmp_path: Path) -> None:
    """A folder of `save_to_disk`, which the library itself writes here."""
    import datasets

    features = datasets.Features(
        {
            "study_id": datasets.Value("string"),
            "view": datasets.ClassLabel(names=["PA", "LATERAL"]),
            "time": datasets.Value("date32"),
            "image": datasets.Image(),
            "findings": datasets.Value("string"),
        }
    )
    data = datasets.Dataset.from_dict(
        {
            "study_id": ["s1"],
            "view": [1],
            "time": [date(2021, 5, 6)],
            "image": [film(30)],
            "findings": ["Clear."],
        },
        features=features,
    )
    data.save_to_disk(str(tmp_path / "saved"))
    prepare(source(tmp_path / "saved"), tmp_path / "set", options())
    (study,) = StudySet.load(tmp_path / "set")
    assert (study.study_id, study.time, study.images[0].view) == ("s1", "2021-05-06", View.LATERAL)


def test_films_of_a_table_that_the_library_did_not_write(tmp_path: Path) -> None:
    root = tmp_path / "plain"
    write(root / "train.parquet", {"image": pa.array([film(70)], FILM), "findings": ["Clear."]})
    prepare(source(root), tmp_path / "set", options())
    (study,) = StudySet.load(tmp_path / "set")
    pixels = StudySet.load(tmp_path / "set").images.pixels(study.images[0].image_id)
    assert pixels[-1, -1, 0] == 70


def test_ids_can_be_hidden(films_of_the_hub: Path, tmp_path: Path) -> None:
    redactor = Redactor.from_key_file(tmp_path / "key", outside=[])
    prepare(source(films_of_the_hub), tmp_path / "set", options(redactor=redactor))
    studies = StudySet.load(tmp_path / "set")
    named = {study.study_id for study in studies} | set(studies.images)
    assert redactor.identifier("train-0") in named
    assert not any("train" in name for name in named)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"columns": {"findings": "finding"}}, "no column 'finding'; did you mean 'findings'"),
        ({"splits": {"tets": "test"}}, "has no split 'tets'; did you mean 'test'"),
        ({"splits": {"test": "later"}}, "split, unless --split names it, is 'later'"),
        ({"columns": {"findings": "image"}}, "column 'image' holds images, and findings is a text"),
    ],
)
def test_what_does_not_fit_is_said(
    films_of_the_hub: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=words):
        read_huggingface(source(films_of_the_hub, **changes))


def test_what_is_no_data_set_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: cannot be loaded as a data set"):
        read_huggingface(source(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"mistyped: is no folder, and as a name on the Hub"):
        read_huggingface(source(tmp_path / "mistyped"))
    write(tmp_path / "paths" / "a.parquet", {"image": pa.array(["../a.png"])})
    with pytest.raises(DataError, match="leads out of"):
        read_huggingface(source(tmp_path / "paths"))


def test_dates_and_views_of_other_forms_are_read_as_from_a_table(tmp_path: Path) -> None:
    write(
        tmp_path / "own/data/train-00000-of-00001.parquet",
        {
            "image": pa.array([film(20), film(40)], FILM),
            "findings": ["Clear.", "Large heart."],
            "patient_id": ["p", "p"],
            "time": ["31.12.2023", "01.02.2024"],
            "view": ["STEHEND", "STEHEND"],
        },
    )
    read = read_huggingface(
        source(tmp_path / "own", date_format="%d.%m.%Y", view_names={"STEHEND": View.PA})
    )
    assert [study.time for study in read.studies] == ["2023-12-31", "2024-02-01"]
    assert [study.images[0].view for study in read.studies] == [View.PA, View.PA]
    with pytest.raises(DataError, match="`prepare folder` and `prepare hf` read others by"):
        read_huggingface(source(tmp_path / "own"))


def test_a_dry_run_finds_a_wrong_folder_of_images(reports_of_the_hub: Path, tmp_path: Path) -> None:
    wrong = source(reports_of_the_hub, columns=COLUMNS, image_folder=tmp_path)
    with pytest.raises(DataError, match="image"):
        prepare(wrong, tmp_path / "set", options(dry_run=True))
    right = source(reports_of_the_hub, columns=COLUMNS, image_folder=reports_of_the_hub / "films")
    prepare(right, tmp_path / "set", options(dry_run=True))
    assert not (tmp_path / "set").exists()
