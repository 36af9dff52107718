from pathlib import Path

import pytest

from editgrpo.data.folder.columns import Columns, parse_column_map
from editgrpo.data.readers.table import Row, Table
from editgrpo.errors import ConfigError, DataError


def a_table(**cells: str | tuple[str, ...]) -> Table:
    return Table(Path("a.csv"), tuple(cells), (Row("a.csv, line 2", cells),))


def images_of(mapping: dict[str, str], separator: str | None = None, **cells: object) -> object:
    table = a_table(id="1", **cells)
    return Columns({"study_id": "id"} | mapping, table).images(table.rows[0], separator)


def test_mappings_are_read_as_typed() -> None:
    assert parse_column_map(["study_id=Study = ID", " view ==PA"]) == {
        "study_id": "Study = ID",
        "view": "=PA",
    }


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["study_id"], "'study_id' must look like study_id=StudyID"),
        (["study_id="], "must look like"),
        (["picture=file"], "--column picture=...: unknown field; use one of study_id, patient_id"),
        (["finding=Text"], "unknown field; did you mean 'findings'"),
        (["time=a", "time=b"], "field 'time' is mapped twice"),
    ],
)
def test_a_malformed_mapping_is_an_error(items: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_column_map(items)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"study_id": "id"}, "no column is mapped to 'image'; a.csv has id, file, v"),
        ({"study_id": "Id", "image": "file"}, "no column 'Id'; did you mean 'id'"),
        ({"study_id": "id", "image": "file", "time": "v,id"}, "'time' takes one column, not 2"),
        ({"study_id": "id", "image": "file", "view": "v,v"}, "'view' has 2 columns for 1"),
        ({"study_id": "id", "image": "file", "veiw": "v"}, "unknown field 'veiw'; did you mean"),
    ],
)
def test_a_map_that_does_not_fit_the_table_is_an_error(
    mapping: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Columns(mapping, a_table(id="1", file="a", v="PA"))


def test_a_table_without_a_header_shows_no_report_in_the_message() -> None:
    report = "There is a large left pleural effusion with adjacent atelectasis."
    for mapping in ({"study_id": "id", "image": "file"}, {"study_id": "s1"}):
        with pytest.raises(ConfigError, match="a text of 67 characters") as caught:
            Columns(mapping, a_table(s1="s2", **{report: "Clear."}))
        assert "effusion" not in str(caught.value)


def test_several_columns_and_constants_are_joined() -> None:
    table = a_table(patient="7", day="3", notes="Clear.", more="", **{"a, b": "x"})
    columns = Columns(
        {
            "study_id": "patient,day",
            "image": "a, b",
            "findings": "notes,more",
            "split": "=test",
        },
        table,
    )
    row = table.rows[0]
    assert columns.text(row, "study_id", joint="_") == "7_3"
    assert columns.text(row, "findings") == "Clear."
    assert columns.text(row, "split") == "test"
    assert columns.text(row, "impression") == ""
    assert columns.images(row, None) == [("x", "")]  # a column whose name holds a comma


def test_each_image_column_has_its_view_and_empty_cells_are_passed_over() -> None:
    mapping = {"image": "f,l", "view": "=PA,=lateral"}
    assert images_of(mapping, f="a.png", l="b.png") == [("a.png", "PA"), ("b.png", "lateral")]
    assert images_of(mapping, f="", l="b.png") == [("b.png", "lateral")]


def test_one_cell_may_hold_several_images_and_views() -> None:
    mapping = {"image": "files", "view": "views"}
    expected = [("a.png", "PA"), ("b.png", "LL")]
    assert images_of(mapping, ";", files="a.png; b.png", views="PA;LL") == expected
    assert images_of(mapping, files=("a.png", "b.png"), views=("PA", "LL")) == expected
    assert images_of(mapping, ";", files="a;b", views="AP") == [("a", "AP"), ("b", "AP")]
    with pytest.raises(DataError, match=r"a.csv, line 2: 2 views for 3 images"):
        images_of(mapping, ";", files="a;b;c", views="PA;LL")
