"""Files are whole or absent; a bad line of JSON is named."""

import json
from pathlib import Path

import pytest

from editgrpo.errors import DataError
from editgrpo.files import read_jsonl, replacing, write_json, write_jsonl, write_text


def test_written_rows_are_read_back_with_their_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "rows.jsonl"
    rows = [{"b": 1, "a": "é\u2028\n"}, {"c": None}]
    assert write_jsonl(path, rows) == 2
    assert list(read_jsonl(path)) == [(1, rows[0]), (2, rows[1])]
    assert path.read_text(encoding="utf-8").startswith('{"b": 1, "a": "é')


def test_empty_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}')
    assert list(read_jsonl(path)) == [(1, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"a": secret}', r"rows\.jsonl, line 2, column 7: Expecting value"),
        (b"[1, 2]", r"rows\.jsonl, line 2: not a JSON object"),
        (b'{"a": "\xff"}', r"rows\.jsonl, line 2: not UTF-8"),
    ],
)
def test_a_bad_line_is_named_without_its_content(
    tmp_path: Path, line: bytes, complaint: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" + line + b"\n")
    with pytest.raises(DataError, match=complaint) as caught:
        list(read_jsonl(path))
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl: No such file"):
        list(read_jsonl(tmp_path / "absent.jsonl"))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_json(path, {"value": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": float("nan")})
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_jsonl(path, ({"value": value} for value in (1.0, float("inf"))))
    assert json.loads(path.read_text()) == {"value": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "figure.png") as partial:
        assert partial.suffix == ".png"
        assert partial.parent == tmp_path
        partial.write_bytes(b"x")
    write_text(tmp_path / "a.txt", "α\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xce\xb1\n"
