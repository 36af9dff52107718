"""Cells that a spreadsheet would run are written so that it does not, and are read back."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.data.readers.table import read_table
from editgrpo.spreadsheet import csv_text, guarded, restored, write_csv

RUN = ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1+1", "- clear", "-"]


@pytest.mark.parametrize("text", RUN)
def test_a_formula_is_not_run(text: str) -> None:
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize(
    "value", [-1.5, 0, -3, "-1.5", "+2", "-1e-05", "-.5", None, "a=b", "", "'a"]
)
def test_numbers_and_plain_text_stay(value: object) -> None:
    assert guarded(value) == value


@given(st.text(alphabet="'=+-@\t\r\n a1.＝"))
def test_what_is_guarded_is_restored(text: str) -> None:
    assert restored(guarded(text)) == text


@given(st.text(alphabet="'=+-@\t\r\n a1.＝"))
def test_only_numbers_begin_as_a_formula_does(text: str) -> None:
    cell = guarded(text)
    if cell.strip()[:1] in ("=", "+", "-", "@", "＝"):
        assert float(cell) == float(text)


def test_our_files_are_read_back(tmp_path: Path) -> None:
    rows = [{"@name": text.strip(), "value": -0.5} for text in [*RUN, "'=1", "it's"]]
    path = tmp_path / "table.csv"
    write_csv(path, ("@name", "value"), rows)
    table = read_table(path)
    assert table.columns == ("@name", "value")
    assert [row.cells["@name"] for row in table.rows] == [row["@name"] for row in rows]
    with path.open(newline="") as stream:
        assert {float(row["value"]) for row in csv.DictReader(stream)} == {-0.5}


def test_quotation_marks_and_line_ends_are_csv() -> None:
    assert csv_text(("a",), [{"a": '=HYPERLINK("x",\n"y")'}]) == (
        'a\n"\'=HYPERLINK(""x"",\n""y"")"\n'
    )
