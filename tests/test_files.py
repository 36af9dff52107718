"""Files are whole or absent; a bad line of JSON is named."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from editgrpo.errors import DataError
from editgrpo.files import (
    create_private,
    open_to_append,
    read_jsonl,
    replacing,
    write_json,
    write_jsonl,
    write_text,
)


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


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Set the umask of the process for one test."""
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _append(path: Path) -> None:
    with open_to_append(path) as stream:
        stream.write("{}\n")


_WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: write_text(path, "The lungs are clear.\n"),
    "json": lambda path: write_json(path, {}),
    "lines": lambda path: write_jsonl(path, [{}]),
    "appended": _append,
    "created": create_private,
}


@pytest.mark.parametrize("writer", _WRITERS.values(), ids=_WRITERS)
@pytest.mark.parametrize(("mask", "mode"), [(0o000, 0o600), (0o022, 0o600), (0o077, 0o600)])
def test_a_new_file_is_its_owners_alone(
    tmp_path: Path,
    umask: Callable[[int], int],
    writer: Callable[[Path], object],
    mask: int,
    mode: int,
) -> None:
    umask(mask)
    writer(tmp_path / "new")
    assert _mode(tmp_path / "new") == mode


def test_an_unfinished_file_is_its_owners_alone_while_it_is_written(
    tmp_path: Path, umask: Callable[[int], int]
) -> None:
    umask(0o022)
    with replacing(tmp_path / "rows.arrow") as partial:
        with partial.open("wb") as stream:
            stream.write(b"x")
        assert _mode(partial) == 0o600


def test_a_file_written_anew_is_private_anew(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("{}")
    path.chmod(0o644)
    write_json(path, {})
    assert _mode(path) == 0o600


@pytest.mark.parametrize("writer", [_append, create_private])
def test_a_file_that_grows_keeps_the_mode_that_its_owner_gave_it(
    tmp_path: Path, writer: Callable[[Path], object]
) -> None:
    path = tmp_path / "rollouts.jsonl"
    path.write_text("{}\n")
    path.chmod(0o640)
    writer(path)
    assert _mode(path) == 0o640
    assert path.read_text().startswith("{}\n")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_what_belongs_to_a_model_is_shared_as_the_umask_says(
    tmp_path: Path, umask: Callable[[int], int], mask: int, mode: int
) -> None:
    umask(mask)
    write_json(tmp_path / "manifest.json", {}, shared=True)
    assert _mode(tmp_path / "manifest.json") == mode
