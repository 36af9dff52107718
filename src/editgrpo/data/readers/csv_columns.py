"""Columns of a long CSV file, as text: hundreds of thousands of rows in about a second.

`table.py` reads small tables of any form into rows; this reads published tables whose columns are
known, plain or compressed, and finds the line of a fault only when there is one.
"""

import csv
import gzip
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from editgrpo.archives import GZIP, MOST_TABLE_BYTES, ZIP, bounded, too_large
from editgrpo.data.prepared.record import shown
from editgrpo.errors import DataError
from editgrpo.foreign import reading

_LINE_END = re.compile(rb"[\r\n]")
_AGAIN = "download the file again"
_DAMAGED = "is damaged, or not all of it is there"


@dataclass(frozen=True, slots=True)
class Columns:
    """Some columns of a table, wholly in memory.

    Attributes:
        path: The file.
        cells: By column; text without surrounding white space, empty where nothing was given.
        content: The file's bytes, unpacked.
    """

    path: Path
    cells: dict[str, pa.StringArray]
    content: bytes

    def __getitem__(self, column: str) -> pa.StringArray:
        return self.cells[column]

    def __len__(self) -> int:
        return len(next(iter(self.cells.values())))

    def where(self, row: int) -> str:
        """Return file and line of a row counted from 0, for messages."""
        # Columns that nobody asked for may be in any encoding.
        lines = _rows(self.path, self.content.decode("utf-8-sig", errors="replace"))
        number = next(number for k, (number, _) in enumerate(lines) if k == row + 1)
        return f"{self.path}, line {number}"


def read_columns(path: Path, columns: Sequence[str]) -> Columns:
    """Read columns of a CSV file with a header.

    Args:
        path: UTF-8, with or without a byte order mark, line ends of any system; plain, gzipped, or
            alone in a zip archive, whatever its name says.
        columns: Their names, in any order in the file; others are passed over.

    Returns:
        The columns.

    Raises:
        DataError: The file cannot be read to its end, is not UTF-8, lacks a column, has none twice,
            has no row, or a row does not fit the header. The message names the line where there is
            one, and holds no cell.
    """
    content = _read(path)
    _check_header(path, content, columns)
    with reading(path, _AGAIN, fault="is no table that can be read"):
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(content),
                # PadChest's lists of labels are printed over several lines.
                parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=list(columns), column_types=dict.fromkeys(columns, pa.string())
                ),
            )
        except pa.ArrowInvalid as error:
            # Arrow's message quotes the row; it is dropped, as a row may hold anything.
            raise DataError(_fault(path, content)) from error
    if not table.num_rows:
        raise DataError(f"{path}: holds no row below its header; {_AGAIN}")
    return Columns(
        path,
        {name: pc.utf8_trim_whitespace(table[name].combine_chunks()) for name in columns},
        content,
    )


def _read(path: Path) -> bytes:
    with reading(path, "give a readable table", fault="{reason}"):
        content = path.read_bytes()
    if content.startswith(GZIP):
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
            content = bounded(unpacked, MOST_TABLE_BYTES, path, _AGAIN, fault=_DAMAGED).read()
    elif content.startswith(ZIP):
        with reading(path, _AGAIN, fault=_DAMAGED):
            content = _unzipped(path, content)
    if not content.strip():
        raise DataError(f"{path}: is empty; {_AGAIN}")
    return content


def _unzipped(path: Path, content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # macOS adds a shadow of every file.
        names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
        tables = [name for name in names if name.lower().endswith(".csv")]
        if len(tables) != 1:
            raise DataError(f"{path}: must hold one CSV table, not {len(tables)}; {_AGAIN}")
        if archive.getinfo(tables[0]).file_size > MOST_TABLE_BYTES:
            raise DataError(too_large(path, MOST_TABLE_BYTES))
        with archive.open(tables[0]) as unpacked:
            return bounded(unpacked, MOST_TABLE_BYTES, path, _AGAIN, fault=_DAMAGED).read()


def _check_header(path: Path, content: bytes, columns: Sequence[str]) -> None:
    header = _LINE_END.split(content.lstrip(b"\r\n"), maxsplit=1)[0]
    try:
        names = next(csv.reader([header.decode("utf-8-sig").strip()]), [])
    except UnicodeError as error:
        raise DataError(f"{path}, line 1: {_NOT_UTF_8}") from error
    except csv.Error as error:
        raise DataError(f"{path}, line 1: {error}; {_AGAIN}") from error
    for column in columns:
        if names.count(column) != 1:
            problem = "appears twice" if column in names else "is missing"
            wanted = ", ".join(columns)
            raise DataError(
                f"{path}, line 1: column {column!r} {problem}; it must name {wanted}, with commas "
                "between them"
            )


_NOT_UTF_8 = "not UTF-8; save the table as UTF-8, or download it again"


def _fault(path: Path, content: bytes) -> str:
    """Return what is wrong with a file that Arrow refused, and on which line."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeError as error:
        line = content[: getattr(error, "start", 0)].count(b"\n") + 1
        return f"{path}, line {line}: {_NOT_UTF_8}"
    width: int | None = None
    for line, cells in _rows(path, text):
        width = len(cells) if width is None else width
        if len(cells) != width:
            return f"{path}, line {line}: {len(cells)} cells under {width} columns; {_AGAIN}"
    return f"{path}: is no table that can be read; {_AGAIN}"


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each row starts, and its cells; blank lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""))
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {line}: {error}; {_AGAIN}") from error


def first_row(is_wrong: pa.BooleanArray) -> int | None:
    """Return the first row for which a mask is True; None if there is none."""
    row = pc.index(is_wrong, True).as_py()
    return None if row < 0 else int(row)


def shown_cell(columns: Columns, column: str, row: int) -> str:
    """Return a cell as a message may hold it."""
    return f"field {column!r} is {shown(columns[column][row].as_py())}"
