"""CSV and JSON lines as rows of text cells that know their line.

Left out: what the columns mean. A cell is text, or a tuple of texts where JSON holds a list.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from editgrpo.data.record import shown
from editgrpo.errors import DataError
from editgrpo.files import read_jsonl

_DELIMITERS = (",", ";", "\t", "|")
_JSON_LINES = frozenset({".jsonl", ".ndjson"})

Cell = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        where: File and line on which it starts, for messages.
        cells: By column; text without surrounding white space.
    """

    where: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is wholly in memory."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path, *, delimiter: str | None = None, encoding: str = "utf-8") -> Table:
    """Read a CSV file with a header, or JSON lines.

    Args:
        path: `.jsonl` and `.ndjson` are JSON lines, everything else is CSV. Line ends of any system
            and a byte order mark are understood.
        delimiter: Between CSV cells; None takes whichever of comma, semicolon, tab and bar stands
            most often in the header.
        encoding: Of a CSV file; JSON lines are UTF-8.

    Returns:
        The table. A column that a JSON object lacks, or has as null, is an empty cell.

    Raises:
        DataError: The file cannot be read, is in another encoding, has no row, or a row does not
            fit the header; the message names the line.
    """
    if path.suffix.lower() in _JSON_LINES:
        table = _read_json_lines(path)
    else:
        table = _read_csv(path, delimiter, encoding)
    if not table.rows:
        raise DataError(f"{path}: holds no row below its header; give a table with studies")
    return table


def _read_csv(path: Path, delimiter: str | None, encoding: str) -> Table:
    text = _read_text(path, encoding)
    if delimiter is None:
        delimiter = max(_DELIMITERS, key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = _csv_rows(reader, path)
    columns = tuple(name.strip() for name in next(rows, (0, []))[1])
    repeated = {name for name in columns if columns.count(name) > 1}
    if repeated:
        name = shown(sorted(repeated)[0])
        raise DataError(f"{path}, line 1: column {name} stands twice; rename one")
    return Table(path, columns, tuple(_row(path, columns, *row) for row in rows))


def _csv_rows(reader: Iterator[list[str]], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each row starts, and its cells; blank lines are passed over."""
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: {error}; check quotation marks") from error
        if cells is None:
            return
        if cells:
            yield line, cells
        line = reader.line_num + 1  # type: ignore[attr-defined]  # csv's reader has it


def _row(path: Path, columns: tuple[str, ...], line: int, cells: list[str]) -> Row:
    if len(cells) != len(columns):
        raise DataError(
            f"{path}, line {line}: {len(cells)} cells under {len(columns)} columns; check the "
            "delimiter and quotation marks"
        )
    stripped = (cell.strip() for cell in cells)
    return Row(f"{path}, line {line}", dict(zip(columns, stripped, strict=True)))


def _read_text(path: Path, encoding: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; give a readable table") from error
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise DataError(
            f"encoding {encoding!r} is unknown; use utf-8, utf-16 or latin-1"
        ) from error
    except UnicodeError as error:
        line = content[: getattr(error, "start", 0)].count(b"\n") + 1
        likely = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1 or cp1252"
        raise DataError(
            f"{path}, line {line}: not {encoding}; give the encoding, perhaps {likely}"
        ) from error


def _read_json_lines(path: Path) -> Table:
    columns: dict[str, None] = {}
    objects = []
    for number, record in read_jsonl(path):
        where = f"{path}, line {number}"
        objects.append((where, {name: _json_cell(v, name, where) for name, v in record.items()}))
        columns.update(dict.fromkeys(record))
    rows = (Row(where, {name: cells.get(name, "") for name in columns}) for where, cells in objects)
    return Table(path, tuple(columns), tuple(rows))


def _json_cell(value: object, name: str, where: str) -> Cell:
    if isinstance(value, list):
        return tuple(str(_json_cell(part, name, where)) for part in value)
    if value is None:
        return ""
    if isinstance(value, dict):
        raise DataError(f"{where}: field {shown(name)} is an object; use text, a number or a list")
    return str(value).strip()
