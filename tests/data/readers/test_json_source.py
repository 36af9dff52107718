import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editgrpo.data.readers.json_source import read_entries, read_items
from editgrpo.data.times import iso_day
from editgrpo.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("k"), inner, max_size=1),
    max_leaves=5,
)
KEYS = st.text(st.characters(exclude_categories=("Cs",)), max_size=4)


def file(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "source.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.slow
@settings(max_examples=60)
@given(entries=st.dictionaries(KEYS, VALUES, max_size=4), indent=st.sampled_from([None, 0, 2]))
def test_entries_are_those_of_pythons_own_reader(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, object], indent: int | None
) -> None:
    path = file(tmp_path_factory.mktemp("json"), json.dumps(entries, indent=indent))
    assert list(read_entries(path)) == list(json.loads(path.read_text()).items())


@pytest.mark.slow
@settings(max_examples=60)
@given(items=st.lists(VALUES, max_size=4), indent=st.sampled_from([None, 0, 2]))
def test_items_are_those_of_pythons_own_reader(
    tmp_path_factory: pytest.TempPathFactory, items: list[object], indent: int | None
) -> None:
    path = file(tmp_path_factory.mktemp("json"), json.dumps(items, indent=indent))
    assert list(read_items(path)) == json.loads(path.read_text())


@pytest.mark.parametrize("content", ['\ufeff{"a": 1}', '{\r\n"a"\t:\r\n1\r\n}\r\n', ' {"a":1}'])
def test_byte_order_mark_and_line_ends_of_any_system_are_understood(
    tmp_path: Path, content: str
) -> None:
    assert list(read_entries(file(tmp_path, content))) == [("a", 1)]


def test_repeated_keys_come_repeatedly(tmp_path: Path) -> None:
    path = file(tmp_path, '{"a": 1, "a": 2}')
    assert list(read_entries(path)) == [("a", 1), ("a", 2)]


def test_nan_as_python_writes_it_is_a_number(tmp_path: Path) -> None:
    ((_, value),) = read_entries(file(tmp_path, '{"a": NaN}'))
    assert math.isnan(value)


AGAIN = "download the file again"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", f": is empty; {AGAIN}"),
        (" \n", f": is empty; {AGAIN}"),
        ("[1]", f": must be one JSON object, {{...}}; {AGAIN}"),
        ("id,split\n1,train\n", f": must be one JSON object, {{...}}; {AGAIN}"),
        ('{"a": 1', f": ends in the middle; {AGAIN}"),
        ('{"a": 1,', f": ends in the middle; {AGAIN}"),
        ('{"a": "so', f": ends in the middle; {AGAIN}"),
        ('{\n"a" 1}', f", line 2, column 5: not JSON (':' expected); {AGAIN}"),
        ('{"a": 1 "b": 2}', f", line 1, column 9: not JSON (',' expected); {AGAIN}"),
        (
            '{"a": 1,}',
            f", line 1, column 8: not JSON (a value must follow the comma); {AGAIN}",
        ),
        ('{"a": 1} {', f", line 1, column 10: not JSON (something follows); {AGAIN}"),
        ("{1: 2}", f": holds a key that is no text; {AGAIN}"),
        ('{"\\ud800": 2}', f": holds a key that is no text; {AGAIN}"),
        (
            b'{\n"a": "Espa\xf1a"}',
            ", line 2: not UTF-8; save the file as UTF-8, or download it again",
        ),
        ('{"a": ' + "[" * 100_000, f": is nested too deeply; {AGAIN}"),
    ],
    ids=range(15),
)
def test_files_that_are_no_object_are_named_with_the_place(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = file(tmp_path, content)
    with pytest.raises(DataError) as error:
        list(read_entries(path))
    assert str(error.value) == f"{path}{message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}', f": must be one JSON list, [...]; {AGAIN}"),
        ("[1, 2", f": ends in the middle; {AGAIN}"),
        ("[1 2]", f", line 1, column 4: not JSON (',' expected); {AGAIN}"),
        ("[1,]", f", line 1, column 3: not JSON (a value must follow the comma); {AGAIN}"),
        ("[nothing]", f", line 1, column 2: not JSON (expecting value); {AGAIN}"),
    ],
    ids=range(5),
)
def test_files_that_are_no_list_are_named_with_the_place(
    tmp_path: Path, content: str, message: str
) -> None:
    path = file(tmp_path, content)
    with pytest.raises(DataError) as error:
        list(read_items(path))
    assert str(error.value) == f"{path}{message}"


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent.json: No such file.*; give a readable file$"):
        list(read_entries(tmp_path / "absent.json"))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("20150131", "2015-01-31"),
        ("20150131.0", "2015-01-31"),
        (" 2015-01-31 ", "2015-01-31"),
        ("2015-01-31 00:00:00", "2015-01-31"),
        ("20150229", ""),  # 2015 was no leap year
        ("20160229", "2016-02-29"),
        ("31/01/2015", ""),
        ("2015", ""),
        ("", ""),
        ("nan", ""),
    ],
)
def test_days_are_read_in_the_forms_of_published_tables(text: str, day: str) -> None:
    assert iso_day(text) == day
