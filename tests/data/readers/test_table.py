import gzip
import zipfile
from pathlib import Path

import pytest

from editgrpo.data.readers.table import read_table
from editgrpo.errors import ConfigError, DataError


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_delimiters_line_ends_and_byte_order_marks_are_found(
    tmp_path: Path, delimiter: str, line_end: str, mark: bytes
) -> None:
    lines = [delimiter.join(cells) for cells in (["id", "text"], ["1", " Cœur normal. "])]
    table = read_table(write(tmp_path / "a.csv", mark + line_end.join([*lines, ""]).encode()))
    assert table.columns == ("id", "text")
    assert [dict(row.cells) for row in table.rows] == [{"id": "1", "text": "Cœur normal."}]


def test_quoted_line_breaks_stay_and_rows_know_their_first_line(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", 'id,text\n1,"two\nlines"\n\n2,x\u2028y\n'))
    assert [row.where.rpartition(", ")[2] for row in table.rows] == ["line 2", "line 5"]
    assert [row.cells["text"] for row in table.rows] == ["two\nlines", "x\u2028y"]


def test_json_lines_may_leave_out_columns_and_hold_lists(tmp_path: Path) -> None:
    lines = '{"id": 7, "images": ["a.png", "b.png"]}\n\n{"id": "8", "text": null, "age": 5.5}\n'
    table = read_table(write(tmp_path / "a.jsonl", lines))
    assert table.columns == ("id", "images", "text", "age")
    assert [dict(row.cells) for row in table.rows] == [
        {"id": "7", "images": ("a.png", "b.png"), "text": "", "age": ""},
        {"id": "8", "images": "", "text": "", "age": "5.5"},
    ]
    assert table.rows[1].where.endswith("line 3")


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv", "a.csv.GZ"])
def test_a_compressed_table_is_told_by_its_content(tmp_path: Path, name: str) -> None:
    content = "\ufeffid;text\r\n1;café\r\n"
    for packed in (gzip.compress(content.encode()), content.encode()):
        table = read_table(write(tmp_path / name, packed))
        assert table.columns == ("id", "text")
        assert [dict(row.cells) for row in table.rows] == [{"id": "1", "text": "café"}]
        assert table.rows[0].where == f"{tmp_path / name}, line 2"


def test_compressed_json_lines_are_read(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.jsonl.gz", gzip.compress(b'{"id": 7}\n')))
    assert [dict(row.cells) for row in table.rows] == [{"id": "7"}]


def test_a_download_that_was_cut_off_or_damaged_is_named(tmp_path: Path) -> None:
    rows = (f"{k},{k * k}\n" for k in range(1000))
    whole = gzip.compress("".join(("id,square\n", *rows)).encode())
    damaged = whole[:50] + bytes(100) + whole[150:]
    wrong_checksum = whole[:-8] + bytes(4) + whole[-4:]
    # Stored as it is: a changed cell would show as a row that does not fit the header.
    changed = gzip.compress(b"id,square\n1,1\n2,4\n", compresslevel=0).replace(b"1,1", b"1,,")
    for content in (whole[: len(whole) // 2], whole[:-2], damaged, wrong_checksum, changed):
        with pytest.raises(DataError, match=r"a\.csv\.gz: is cut off or damaged inside") as caught:
            read_table(write(tmp_path / "a.csv.gz", content))
        assert "\n" not in str(caught.value)


def test_an_archive_in_place_of_a_table_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", "id\n1\n")
    with pytest.raises(DataError, match=r"a\.csv\.zip: is a zip archive or a workbook; unpack it"):
        read_table(tmp_path / "a.csv.zip")


def test_other_encodings_are_read_when_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,text\n1,café\n".encode("utf-16"))
    assert read_table(path, encoding="utf-16").rows[0].cells["text"] == "café"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty and holds no row; get the file again"),
        (b"\n\n", "holds no row"),
        (b"id,text\n", "holds no row"),
        (b"id,text\n1,a\n2,b,c\n", "line 3: 3 cells under 2 columns"),
        (b"id,text\n1\n", "line 2: 1 cells under 2 columns"),
        (b'id,text\n1,"never closed\n2,b\n', "line 2: unexpected end of data"),
        (b"id,id\n1,2\n", "line 1: column 'id' appears twice"),
        (b"id,text\n1,a\n2,caf\xe9\n", "line 3: not utf-8, perhaps latin-1"),
        ("id,text\n1,a\n".encode("utf-16"), "not utf-8, perhaps utf-16"),
        ("id,text\n1,a\n".encode("utf-16-le"), "line 1: holds zero bytes, perhaps utf-16"),
        (
            b"id,text\n" + b"1,a\n" * 9000 + b"2,caf\xe9\n",
            "line 9002: not utf-8, perhaps latin-1",
        ),
    ],
)
def test_a_broken_csv_file_is_named_with_its_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=rf"a\.csv.*{message}") as caught:
        read_table(write(tmp_path / "a.csv", content))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=rf"a\.csv.*{message}"):
        read_table(write(tmp_path / "a.csv", gzip.compress(content)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": 1}\n{"id": \n', "line 2"),
        ('{"id": {"a": 1}}\n', "line 1: field 'id' is an object"),
        ("[1]\n", "line 1: not a JSON object"),
    ],
)
def test_a_broken_json_lines_file_is_named_with_its_line(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=rf"a\.jsonl.*{message}"):
        read_table(write(tmp_path / "a.jsonl", content))


def test_a_missing_file_and_an_unknown_encoding_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv: No such file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="encoding 'utf-9' is unknown"):
        read_table(write(tmp_path / "a.csv", "id\n1\n"), encoding="utf-9")


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"sep=;\r\nid;text\r\n1;a, b\r\n", "utf-8"),
        (b"\xef\xbb\xbfsep=;\nid;text\n1;a, b\n", "utf-8"),
        (b"SEP=;\nid;text\n1;a, b\n", "utf-8"),
        (b'"sep=;"\nid;text\n1;a, b\n', "utf-8"),
        ("sep=;\r\nid;text\r\n1;a, b\r\n".encode("utf-16"), "utf-16"),
        (b"sep=\t\nid\ttext\n1\ta, b\n", "utf-8"),
        (b"sep=^\nid^text\n1^a, b\n", "utf-8"),
    ],
)
def test_excels_first_line_says_what_parts_cells(
    tmp_path: Path, content: bytes, encoding: str
) -> None:
    table = read_table(write(tmp_path / "a.csv", content), encoding=encoding)
    assert (table.columns, dict(table.rows[0].cells)) == (
        ("id", "text"),
        {"id": "1", "text": "a, b"},
    )
    assert table.rows[0].where.endswith("a.csv, line 3")


def test_a_fault_below_excels_first_line_is_on_its_own_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"sep=;\nid;text\n1;a\n2\n")
    with pytest.raises(DataError, match="line 4: 1 cells under 2 columns"):
        read_table(path)
    with pytest.raises(DataError, match="line 2: column 'id' appears twice"):
        read_table(write(tmp_path / "b.csv", b"sep=;\nid;id\n1;a\n"))


@pytest.mark.parametrize(
    "content",
    [
        b"id,text,,\n1,a,,\n2,b,,\n",
        b"id,text,,\n1,a\n2,b,\n",
        b"id,text\n1,a,,\n2,b\n",
        b"id,text, \n1,a, \n,, \n2,b,\n,,\n",
    ],
)
def test_columns_and_rows_that_a_spreadsheet_left_empty_are_none(
    tmp_path: Path, content: bytes
) -> None:
    table = read_table(write(tmp_path / "a.csv", content))
    assert table.columns == ("id", "text")
    assert [dict(row.cells) for row in table.rows] == [
        {"id": "1", "text": "a"},
        {"id": "2", "text": "b"},
    ]


@pytest.mark.parametrize("delimiter", [";;", "", "\n", '"', "\0", "tab"])
def test_a_delimiter_is_one_character(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path / "a.csv", b"id,text\n1,a\n")
    with pytest.raises(ConfigError, match=r"^delimiter is .*; give one character"):
        read_table(path, delimiter=delimiter)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,text,\n1,a,b\n", "line 2: 3 cells under 2 columns"),
        ("a.csv", b"id,text\n1,a\0b\n", "holds zero bytes"),
        ("a.csv", b"id,text\n1," + b"a" * 200_000 + b"\n", "line 2: field larger than"),
        ("a.jsonl", b'{"a": ' * 9000 + b"1" + b"}" * 9000, "line 1: "),
        ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}", "line 1: "),
        ("a.jsonl", b'{"a": [[1]]}', "line 1: field 'a' is a list of lists"),
    ],
)
def test_odd_content_is_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_table(write(tmp_path / name, content))
    assert "\n" not in str(caught.value)
