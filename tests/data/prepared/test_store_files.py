"""What the files of a set must be, and what is said of them if they are not."""

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from editgrpo.data.prepared.arrow_files import read_arrow, write_arrow
from editgrpo.data.prepared.store import FORM, StudySet, read_prepared, write_tables
from editgrpo.data.study import Split, Study, StudyImage, View
from editgrpo.errors import DataError
from tests.builders import bytes_of
from tests.data.tables import FIVE, a_study, tables_alone


def the_account(**changes: object) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        path = folder / "prepared.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def the_file(name: str, change: Callable[[bytes], bytes | None]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        content = change((folder / name).read_bytes())
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)

    return damage


TABLE = "studies/train.arrow"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            the_file("prepared.json", lambda _: None),
            "holds no prepared.json; give a folder written",
        ),
        (
            the_file("prepared.json", lambda _: b""),
            "prepared.json: cannot be read as JSON; prepare",
        ),
        (the_file("prepared.json", lambda b: b[:-9]), "prepared.json: cannot be read as JSON"),
        (the_file("prepared.json", lambda _: b"[]"), "prepared.json: is not of form"),
        (
            the_account(form=FORM + 1),
            f"prepared.json: is not of form {FORM}; prepare the set again",
        ),
        (the_account(files=None), "prepared.json: lists no files; prepare the set again"),
        (the_file(TABLE, lambda _: None), "train.arrow: No such file or directory; restore it"),
        (the_file(TABLE, lambda _: b""), "train.arrow: is damaged or cut short; restore it"),
        (the_file(TABLE, lambda b: b[: len(b) // 2]), "train.arrow: is damaged or cut short"),
        (
            the_file(
                TABLE, lambda b: b.replace(b"findings\0", b"\xff\xff\xff\xff\xff\xff\xff\xff\0")
            ),
            "train.arrow: is damaged or cut",
        ),
        (the_file(TABLE, lambda b: b[:-8]), "train.arrow: is damaged or cut short"),
        (the_file(TABLE, lambda _: b"PK\x03\x04" * 99), "train.arrow: is damaged or cut short"),
    ],
)
def test_a_folder_that_is_not_whole_says_so_in_one_line(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    tables_alone(tmp_path, FIVE)
    damage(tmp_path)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        StudySet.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "; " in str(caught.value)  # what to do


def test_another_table_in_place_of_the_studies_is_an_error(tmp_path: Path) -> None:
    tables_alone(tmp_path, FIVE)
    write_arrow(tmp_path / TABLE, pa.table({"study_id": ["a"]}))
    with pytest.raises(DataError, match=r"train\.arrow: is not a table of studies; prepare"):
        StudySet.load(tmp_path)


def test_a_preparation_that_was_not_finished_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "unfinished.json").write_text("{}")
    with pytest.raises(DataError, match="was not finished; run the same command with --resume"):
        StudySet.load(tmp_path)
    with pytest.raises(DataError, match="was not finished"):
        read_prepared(tmp_path)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder; give a folder"):
        StudySet.load(tmp_path / "nowhere")


@pytest.mark.parametrize("column", ["split", "view", "timepoint"])
def test_an_unknown_value_is_named_by_type_and_length(tmp_path: Path, column: str) -> None:
    tables_alone(tmp_path, FIVE)
    rows = read_arrow(tmp_path / TABLE).to_pylist()
    sentence = "The heart is enlarged and the lungs are clear."
    (rows[1] if column == "split" else rows[1]["images"][0])[column] = sentence
    schema = read_arrow(tmp_path / TABLE).schema
    write_arrow(tmp_path / TABLE, pa.Table.from_pylist(rows, schema=schema))
    studies = StudySet.load(tmp_path)
    assert studies[0] == FIVE[0]
    with pytest.raises(DataError, match="a text of 48 characters is no split, view or time") as e:
        studies[1]
    assert "heart" not in str(e.value)
    with pytest.raises(DataError):
        list(studies)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (a_study(" "), "study ' ': field 'study_id' is empty; give it a value"),
        (replace(a_study(), patient_id=""), "field 'patient_id' is empty"),
        (a_study(findings="ab\ud800"), "'findings' holds half of a surrogate pair at character 2"),
        (
            replace(a_study(), images=(StudyImage(image_id="\udfff", view=View.PA),)),
            "field 'image_id' holds half of a surrogate pair at character 0",
        ),
    ],
)
def test_a_study_that_cannot_be_written_is_named_with_its_field(
    tmp_path: Path, study: Study, message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        write_tables(tmp_path, [a_study("good"), study])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.arrow"))


def test_a_failed_write_leaves_the_old_tables_and_nothing_else(tmp_path: Path) -> None:
    tables_alone(tmp_path, [a_study("old")])
    before = bytes_of(tmp_path)
    with pytest.raises(DataError, match="study_id 's1' would be in it twice"):
        write_tables(tmp_path, [a_study("s1"), a_study("s1", Split.TEST)])
    with pytest.raises(DataError, match="there is no study to write"):
        write_tables(tmp_path, [])
    assert bytes_of(tmp_path) == before


def test_a_split_that_became_empty_has_no_table_left(tmp_path: Path) -> None:
    tables_alone(tmp_path, FIVE)
    assert write_tables(tmp_path, FIVE[:2]) == {
        Split.TRAIN: 2,
        Split.VALIDATION: 0,
        Split.TEST: 0,
    }
    assert [path.name for path in (tmp_path / "studies").iterdir()] == ["train.arrow"]


def test_writing_to_a_place_that_is_a_file_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "studies").write_text("")
    with pytest.raises(
        DataError, match=r"train\.arrow: cannot be written .*; choose another folder"
    ):
        write_tables(tmp_path, [a_study()])


# In a process of its own, which a damaged offset would end.
_CHANGED_BITS = """
    import sys
    from pathlib import Path
    from editgrpo.data.prepared.store import StudySet
    from editgrpo.errors import DataError

    folder, refused = Path(sys.argv[1]), 0
    table = folder / "studies" / "train.arrow"
    content = table.read_bytes()
    for position in range(0, len(content), 7):
        # Another file each time: what is mapped must not change.
        table.unlink()
        table.write_bytes(
            content[:position]
            + bytes([content[position] ^ 1 << position % 8])
            + content[position + 1 :]
        )
        try:
            list(StudySet.load(folder))
        except DataError as error:
            assert "\\n" not in str(error)
            refused += 1
    print(refused)
"""


@pytest.mark.slow
def test_a_changed_bit_gives_an_error_or_a_study_but_no_crash(tmp_path: Path) -> None:
    tables_alone(tmp_path, FIVE)
    output = subprocess.check_output(
        [sys.executable, "-c", textwrap.dedent(_CHANGED_BITS), str(tmp_path)], text=True
    )
    assert int(output) > 100
