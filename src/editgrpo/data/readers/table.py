"""CSV and JSON lines, compressed or not, as rows of text cells that know their line.

Left out: what the columns mean. A cell is text, or a tuple of texts where JSON holds a list.
"""

import csv
import gzip
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from editgrpo.archives import GZIP, MOST_TABLE_BYTES, ZIP, bounded
from editgrpo.data.prepared.record import is_header, shown
from editgrpo.errors import ConfigError, DataError
from editgrpo.files import parse_json_object
from editgrpo.foreign import reading
from editgrpo.spreadsheet import restored

_DELIMITERS = (",", ";", "\t", "|")
_JSON_LINES = frozenset({".jsonl", ".ndjson"})
# As Excel begins a CSV file to say what parts its cells; of any letters.
_SAID_DELIMITER = re.compile(r'"?[sS][eE][pP]=(.)"?', re.DOTALL)

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


_SAVE_AS_UTF8 = "save it as UTF-8 (`prepare folder` reads others by --encoding)"


def read_table(path: Path, *, delimiter: str | None = None, encoding: str = "utf-8") -> Table:
    """Read a CSV file with a header, or JSON lines; either may be compressed with gzip.

    Args:
        path: `.jsonl` and `.ndjson` are JSON lines, everything else is CSV; `.gz` may follow, but
            compression is told by the content. Line ends of any system and a byte order mark are
            understood.
        delimiter: Between CSV cells, one character; None takes what a first line `sep=;` says, else
            whichever of comma, semicolon, tab and bar stands most often in the header.
        encoding: Of a CSV file; JSON lines are UTF-8.

    Returns:
        The table. A column that a JSON object lacks, or has as null, is an empty cell.

    Raises:
        DataError: The file cannot be read, is cut off, is in another encoding, has no row, or a row
            does not fit the header; the message names the line.
        ConfigError: The delimiter is not one character.
    """
    with _opened(path) as stream:
        if Path(path.name.lower().removesuffix(".gz")).suffix in _JSON_LINES:
            table = _read_json_lines(path, stream)
        else:
            table = _read_csv(path, stream, delimiter, encoding)
    if not table.columns:
        raise DataError(f"{path}: is empty and holds no row; get the file again")
    if not table.rows:
        raise DataError(f"{path}: holds no row below its header; give a table with studies")
    return table


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file, decompressed if it is gzip, and say what is wrong where it cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.peek(4)[:4]
            if start.startswith(ZIP):
                raise DataError(
                    f"{path}: is a zip archive or a workbook; unpack it, or save it as CSV"
                )
            if start.startswith(GZIP):
                with _decompressed(file, path) as content:
                    yield content
            else:
                yield file
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; give a readable table") from error


@contextmanager
def _decompressed(file: io.BufferedReader, path: Path) -> Iterator[io.BufferedReader]:
    fault = "is cut off or damaged inside its compression"
    with gzip.GzipFile(fileobj=file) as unpacked:
        content = bounded(unpacked, MOST_TABLE_BYTES, path, "get the file again", fault=fault)
        try:
            yield content
        except DataError:
            # Damage shows as nonsense in the rows first; the checksum at the end tells it apart.
            while content.read(1 << 20):
                pass
            raise


def _read_csv(path: Path, stream: io.BufferedReader, delimiter: str | None, encoding: str) -> Table:
    _check_delimiter(delimiter)
    unknown = f"encoding {encoding!r} is unknown"
    with reading("", "use utf-8, utf-16 or latin-1", fault=unknown):
        # Read line by line: the whole text beside the rows would be several times the file.
        lines = io.TextIOWrapper(stream, encoding, newline="")
    try:
        first = _checked(lines.readline().removeprefix("\ufeff"), path, 1)
        skipped = 0
        if said := _SAID_DELIMITER.fullmatch(first.rstrip("\r\n")):
            # Excel's own first line; it wins over a guess, and a user's word over it.
            delimiter = delimiter or said[1]
            first, skipped = _checked(lines.readline(), path, 2), 1
        reader = csv.reader(
            chain((first,), (_checked(line, path) for line in lines)),
            delimiter=delimiter or max(_DELIMITERS, key=first.count),
            strict=True,
        )
        rows = _csv_rows(reader, path, skipped)
        columns = _columns(path, next(rows, (1, []))[1], line=1 + skipped)
        return Table(path, columns, tuple(_row(path, columns, *row) for row in rows))
    except UnicodeError as error:
        raise _wrong_encoding(path, encoding) from error


def _check_delimiter(delimiter: str | None) -> None:
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0\ufeff'):
        raise ConfigError(
            f"delimiter is {shown(delimiter)}; give one character, such as ';', or none, to have "
            "it found"
        )


def _checked(line: str, path: Path, number: int | None = None) -> str:
    if "\0" not in line:
        return line
    where = path if number is None else f"{path}, line {number}"
    raise DataError(f"{where}: holds zero bytes, perhaps utf-16; {_SAVE_AS_UTF8}")


def _columns(path: Path, names: list[str], *, line: int) -> tuple[str, ...]:
    """Return the names of a header, without those that are missing at its end.

    A spreadsheet writes as many columns as any row of the sheet ever had.
    """
    columns = [restored(name.strip()) for name in names]
    while columns and not columns[-1]:
        columns.pop()
    repeated = next((name for name in columns if columns.count(name) > 1), None)
    if repeated is not None:
        what = f"column {columns.index(repeated) + 1}"
        what = f"column {repeated!r}" if is_header(columns) else what
        raise DataError(f"{path}, line {line}: {what} appears twice; rename one")
    return tuple(columns)


def _csv_rows(
    reader: Iterator[list[str]], path: Path, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each row starts, and its cells; blank lines are passed over.

    A row of empty cells is blank too: a spreadsheet writes those below its last filled row.
    """
    line = 1 + skipped
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: {error}; check quotation marks") from error
        if cells is None:
            return
        if any(map(str.strip, cells)):
            yield line, cells
        line = reader.line_num + 1 + skipped  # type: ignore[attr-defined]  # csv's reader has it


def _row(path: Path, columns: tuple[str, ...], line: int, cells: list[str]) -> Row:
    texts = [restored(cell.strip()) for cell in cells]
    if len(texts) < len(columns) or any(texts[len(columns) :]):
        raise DataError(
            f"{path}, line {line}: {len(cells)} cells under {len(columns)} columns; check the "
            "delimiter and quotation marks"
        )
    return Row(f"{path}, line {line}", dict(zip(columns, texts, strict=False)))


def _wrong_encoding(path: Path, encoding: str) -> DataError:
    """Say on which line a file stops being in an encoding; decoding as a stream cannot tell."""
    with _opened(path) as stream:
        content = stream.read()
    line = 1
    try:
        content.decode(encoding)
    except UnicodeError as error:
        line += content[: getattr(error, "start", 0)].count(b"\n")
    likely = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1 or cp1252"
    return DataError(f"{path}, line {line}: not {encoding}, perhaps {likely}; {_SAVE_AS_UTF8}")


def _read_json_lines(path: Path, stream: io.BufferedReader) -> Table:
    columns: dict[str, None] = {}
    objects = []
    for number, raw in enumerate(stream, start=1):
        if raw.strip():
            where = f"{path}, line {number}"
            record = parse_json_object(raw, where)
            cells = {name: _json_cell(value, name, where) for name, value in record.items()}
            objects.append((where, cells))
            columns.update(dict.fromkeys(record))
    rows = (Row(where, {name: cells.get(name, "") for name in columns}) for where, cells in objects)
    return Table(path, tuple(columns), tuple(rows))


def _json_cell(value: object, name: str, where: str) -> Cell:
    if isinstance(value, list):
        if any(isinstance(part, list) for part in value):
            raise DataError(f"{where}: field {shown(name)} is a list of lists; use one list")
        return tuple(str(_json_cell(part, name, where)) for part in value)
    if value is None:
        return ""
    if isinstance(value, dict):
        raise DataError(f"{where}: field {shown(name)} is an object; use text, a number or a list")
    with reading(f"{where}: field {shown(name)}", "write it as text"):
        # Python writes no whole number of more than 4,300 digits.
        return str(value).strip()
