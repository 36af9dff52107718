import re
from dataclasses import fields, replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.data.prepared.record import (
    SECTIONS,
    check_study,
    is_header,
    listed_columns,
    nearest,
    shown,
    studies_from_batch,
    study_to_row,
)
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError

STUDY = Study(
    study_id="s1",
    patient_id="p1",
    split=Split.VALIDATION,
    images=(
        StudyImage(image_id="a", view=View.LATERAL),
        StudyImage(image_id="b", view=View.PA, timepoint=Timepoint.PRIOR),
    ),
    time="2150-01-02T10:15:30.125",
    prior_study_id="s0",
    prior_time="2150-01-01",
    indication="Cough.",
    findings="Clear lungs.",
)


def test_a_study_is_a_row_of_plain_values() -> None:
    assert study_to_row(STUDY) == {
        **{"study_id": "s1", "patient_id": "p1", "split": "validation"},
        **{"time": "2150-01-02T10:15:30.125", "prior_study_id": "s0", "prior_time": "2150-01-01"},
        "images": [
            {"image_id": "a", "view": "lateral", "timepoint": "current"},
            {"image_id": "b", "view": "PA", "timepoint": "prior"},
        ],
        **{"indication": "Cough.", "technique": "", "comparison": ""},
        **{"findings": "Clear lungs.", "impression": ""},
    }
    # A plain string of an enumeration would be written as its own type.
    assert type(study_to_row(STUDY)["split"]) is str
    assert type(study_to_row(STUDY)["images"][1]["view"]) is str


def test_a_row_has_every_field_of_a_study() -> None:
    assert set(study_to_row(STUDY)) == {field.name for field in fields(Study)} - {
        "target"  # what is asked for is no part of the record
    }
    assert set(SECTIONS) < set(study_to_row(STUDY))


def test_rows_are_read_back_as_the_studies() -> None:
    without_images = replace(STUDY, study_id="s2", split=Split.TRAIN, images=())
    studies = [without_images, STUDY, replace(STUDY, study_id="s3", images=STUDY.images[:1])]
    batch = pa.RecordBatch.from_pylist([study_to_row(study) for study in studies])
    assert list(studies_from_batch(batch, where="w")) == studies
    # A part of a table shares its columns with the whole.
    assert list(studies_from_batch(batch.slice(1, 1), where="w")) == [STUDY]
    assert list(studies_from_batch(batch.slice(3), where="w")) == []


@pytest.mark.parametrize("name", ["split", "view", "timepoint"])
def test_an_unknown_value_is_named_with_its_place(name: str) -> None:
    row = study_to_row(STUDY)
    (row if name == "split" else row["images"][0])[name] = "Train"
    with pytest.raises(DataError, match=r"^set, row 3: 'Train' is no split, view or time point; "):
        list(studies_from_batch(pa.RecordBatch.from_pylist([row]), where="set, row 3"))


def test_a_whole_study_passes() -> None:
    check_study(STUDY, where="w")


@given(st.text(min_size=23))
def test_a_long_value_is_never_shown(text: str) -> None:
    # 22 characters and two quotes are the longest that is shown.
    assert re.fullmatch(r"a text of \d+ characters", shown(text))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("train", "'train'"),
        (7, "7"),
        (None, "None"),
        ("x" * 22, repr("x" * 22)),
        (["x" * 40], "a list of 44 characters"),
    ],
)
def test_a_short_value_is_shown_whole(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("trian", "did you mean 'train'?"),
        (" TEST ", "did you mean 'test'?"),
        ("xyz", "use one of train, Validation, test"),
        ("validaton", "did you mean 'Validation'?"),
    ],
)
def test_advice_names_the_nearest_or_all(name: str, advice: str) -> None:
    assert nearest(name, iter(["train", "Validation", "test"])) == advice


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("holdout", "'holdout'"),
        ("fold-3", "'fold-3'"),
        ("2024-03-31T08:15", "'2024-03-31T08:15'"),
        ("31/03/2024 08:15", "'31/03/2024 08:15'"),
        ("", "''"),
        ("?", "'?'"),
        (7, "7"),
        (None, "None"),
        # What may be said in a report is not shown, however short.
        ("Normal.", "a text of 9 characters"),
        ("No effusion", "a text of 13 characters"),
        ("Clear!", "a text of 8 characters"),
        ("Normal,", "a text of 9 characters"),
        ("a" * 30, "a text of 32 characters"),
    ],
)
def test_only_codes_and_numbers_are_shown(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    "names",
    [
        ("study_id", "image", "findings"),
        ("Image Index", "Finding Labels", "Follow-up #", "OriginalImage[Width", "Height]"),
        ("StudyDate_DICOM", "age (years)", "", "x1"),
        ("id",),
    ],
)
def test_a_header_is_told_by_its_names(names: tuple[str, ...]) -> None:
    assert is_header(names)
    assert listed_columns(names) == ", ".join(filter(None, names))


@pytest.mark.parametrize(
    "cell",
    [
        "Clear.",
        "Is it new?",
        "No effusion, no edema",
        "The heart is large",
        "50414267",
        "2150-01-02",
        "films/a.PNG",
        "x" * 41,
    ],
)
def test_a_row_of_cells_is_no_header(cell: str) -> None:
    names = ("s1", cell, "PA")
    assert not is_header(names)
    said = listed_columns(names)
    assert said.startswith("no header: 3 cells in its first row") and cell not in said


TOKENS = [
    "<|im_end|>", "<|image_pad|>", "<|vision_start|>", "<|endoftext|>", "<|eot_id|>", "<image>",
    "<start_of_turn>", "<end_of_turn>", "<image_soft_token>", "<unused7>", "<bos>", "</s>",
    "[INST]", "<think>", "</tool_call>", "<\uff5cend\u2581of\u2581sentence\uff5c>",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("field", ["findings", "indication", "technique", "comparison"])
@pytest.mark.parametrize("token", TOKENS)
def test_special_tokens_of_models_are_refused_in_what_reaches_one(token: str, field: str) -> None:
    study = replace(STUDY, **{field: f"Seen{token}here."})
    with pytest.raises(DataError) as caught:
        check_study(study, where="set")
    assert str(caught.value).startswith(f"set, study {study.study_id!r}: field {field!r} holds ")
    assert "here" not in str(caught.value)


@pytest.mark.parametrize("text", ["size < 3 cm", "<5 mm> |x|", "a <- b", "pO2 <|60|", "I > II"])
def test_marks_of_ordinary_text_are_kept(text: str) -> None:
    check_study(replace(STUDY, findings=text), where="set")
