import json
import pickle
import re
from pathlib import Path

import pytest

from editgrpo.data.store import Rejection, StudySet, write_rejected, write_studies
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError

RECORD = {
    "study_id": "s1",
    "patient_id": "p1",
    "split": "train",
    "images": [{"path": "images/a.png", "view": "PA", "timepoint": "current"}],
    "indication": "Cough.",
    "technique": "",
    "comparison": "",
    "findings": "Clear lungs.",
    "impression": "",
}


def a_study(
    study_id: str = "s1", split: Split = Split.TRAIN, findings: str = "Clear lungs."
) -> Study:
    return Study(
        study_id=study_id,
        patient_id="p1",
        split=split,
        images=(
            StudyImage(path="images/a.png", view=View.PA),
            StudyImage(path="/archive/b.png", view=View.LATERAL, timepoint=Timepoint.PRIOR),
        ),
        findings=findings,
    )


def write_lines(folder: Path, *lines: object) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "studies.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_written_studies_load_as_they_were(tmp_path: Path) -> None:
    studies = [a_study("s1"), a_study("s2", Split.TEST, "Œdème, 2 µm – 'ok'\u2028end")]
    assert write_studies(tmp_path / "new", studies) == 2
    assert list(StudySet.load(tmp_path / "new")) == studies


def test_keys_stand_in_the_documented_order(tmp_path: Path) -> None:
    write_studies(tmp_path, [a_study()])
    record = json.loads((tmp_path / "studies.jsonl").read_text())
    assert list(record) == list(RECORD)
    assert list(record["images"][0]) == ["path", "view", "timepoint"]


def test_a_split_is_a_subset_in_file_order(tmp_path: Path) -> None:
    splits = [Split.TEST, Split.TRAIN, Split.TEST, Split.VALIDATION]
    write_studies(tmp_path, [a_study(f"s{k}", split) for k, split in enumerate(splits)])
    test = StudySet.load(tmp_path, split=Split.TEST)
    assert [study.study_id for study in test] == ["s0", "s2"]
    assert test[-1].study_id == "s2"
    assert [study.study_id for study in StudySet.load(tmp_path)[1:3]] == ["s1", "s2"]
    with pytest.raises(IndexError):
        test[2]


def test_image_paths_start_at_the_folder_unless_absolute(tmp_path: Path) -> None:
    write_studies(tmp_path, [a_study()])
    studies = StudySet.load(tmp_path)
    assert [studies.image_path(image) for image in studies[0].images] == [
        tmp_path / "images/a.png",
        Path("/archive/b.png"),
    ]


def test_windows_line_ends_byte_order_mark_and_blank_lines_are_read(tmp_path: Path) -> None:
    lines = b"\xef\xbb\xbf" + json.dumps(RECORD).encode() + b"\r\n\r\n"
    lines += json.dumps(RECORD | {"study_id": "s2"}).encode()
    (tmp_path / "studies.jsonl").write_bytes(lines)
    assert [study.study_id for study in StudySet.load(tmp_path)] == ["s1", "s2"]


def test_a_loaded_set_outlives_the_replacement_of_its_file(tmp_path: Path) -> None:
    write_studies(tmp_path, [a_study("old")])
    studies = StudySet.load(tmp_path)
    write_studies(tmp_path, [a_study("a-new-one")])
    assert studies[0].study_id == "old"
    with pytest.raises(DataError, match="was replaced; load the studies again"):
        pickle.loads(pickle.dumps(studies))


def test_a_set_can_be_handed_to_a_worker_process(tmp_path: Path) -> None:
    write_studies(tmp_path, [a_study("s1"), a_study("s2")])
    studies = pickle.loads(pickle.dumps(StudySet.load(tmp_path)[1:]))
    assert [study.study_id for study in studies] == ["s2"]


def without(*names: str) -> dict[str, object]:
    return {key: value for key, value in RECORD.items() if key not in names}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"study_id": ', "column 14: Expecting value"),
        ("[1, 2]", "not a JSON object"),
        (without("study_id"), "field 'study_id' is missing"),
        (RECORD | {"study_id": " "}, "field 'study_id' is empty"),
        (RECORD | {"study_id": 7}, "field 'study_id' is 7; it must be a string in quotes"),
        (RECORD | {"split": "trian"}, "field 'split' is 'trian'; did you mean 'train'?"),
        (RECORD | {"split": "x"}, "field 'split' is 'x'; use one of train, validation, test"),
        (RECORD | {"findngs": "x"}, "unknown field 'findngs'; did you mean 'findings'?"),
        (RECORD | {"findings": ["x"]}, "field 'findings' is ['x']; it must be a string or null"),
        (RECORD | {"findings": "\ud800"}, "field 'findings' holds half of a surrogate pair"),
        (RECORD | {"images": "a.png"}, "field 'images' must be a list"),
        (RECORD | {"images": ["a.png"]}, "images[0]: must be a JSON object, not 'a.png'"),
        (RECORD | {"images": [{"path": "a"}]}, "images[0]: field 'view' is missing; use one of"),
        (
            RECORD | {"images": [{"path": "a", "view": "pa"}]},
            "images[0]: field 'view' is 'pa'; did you mean 'PA'?",
        ),
        (
            RECORD | {"images": [{"path": "a", "view": "PA", "timepoint": "previous"}]},
            "field 'timepoint' is 'previous'; did you mean 'prior'?",
        ),
    ],
)
def test_a_malformed_line_is_named_with_its_remedy(
    tmp_path: Path, line: object, message: str
) -> None:
    folder = write_lines(tmp_path, RECORD | {"study_id": "good"}, line)
    with pytest.raises(DataError, match=rf"studies\.jsonl, line 2.*{re.escape(message)}") as caught:
        StudySet.load(folder)
    assert "\n" not in str(caught.value)


def test_a_message_never_holds_a_long_value(tmp_path: Path) -> None:
    sentence = "The heart is enlarged and the lungs are clear."
    with pytest.raises(DataError, match="field 'split' is a str of 48 characters"):
        StudySet.load(write_lines(tmp_path, RECORD | {"split": sentence}))


def test_a_repeated_study_id_names_both_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3: field 'study_id' repeats line 1"):
        StudySet.load(write_lines(tmp_path, RECORD, RECORD | {"study_id": "s2"}, RECORD))


def test_bytes_that_are_not_utf_8_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "studies.jsonl").write_bytes(b'{"study_id": "\xe9"}\n')
    with pytest.raises(DataError, match="line 1: not UTF-8"):
        StudySet.load(tmp_path)


def test_a_missing_or_empty_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"studies\.jsonl: cannot be read .*`editgrpo prepare`"):
        StudySet.load(tmp_path)
    with pytest.raises(DataError, match=r"studies\.jsonl: holds no study"):
        StudySet.load(write_lines(tmp_path, ""))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_studies(tmp_path, [a_study("old")])
    with pytest.raises(DataError, match="study_id 's1' would stand in it twice"):
        write_studies(tmp_path, [a_study("s1"), a_study("s1")])
    assert [study.study_id for study in StudySet.load(tmp_path)] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["studies.jsonl"]


def test_writing_to_a_place_that_is_a_file_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_studies(tmp_path / "taken", [a_study()])


def test_rejections_are_listed_one_a_line(tmp_path: Path) -> None:
    rejections = [
        Rejection(study_id="s1", image="a.png", reason="image file is missing"),
        Rejection(study_id="s1", image=None, reason="no current image is left"),
    ]
    assert write_rejected(tmp_path, rejections) == 2
    lines = (tmp_path / "rejected.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "study_id": "s1",
        "image": "a.png",
        "reason": "image file is missing",
    }
    assert json.loads(lines[1])["image"] is None
