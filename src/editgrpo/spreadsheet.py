"""CSV that a spreadsheet shows and does not run.

A spreadsheet takes a cell that begins with one of a few characters for a formula, and a formula can
fetch a page or start a program. The texts that we write come from models and from other people's
files, so such a cell gets an apostrophe before it, which `restored` takes off again.

Source: OWASP, "CSV Injection".
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from editgrpo.files import write_text

# The characters that OWASP lists, also behind blanks, which some programs cut off, and their
# full-width forms, which East Asian versions take alike.
_FORMULA = re.compile(r"'*([\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
# What a spreadsheet takes for a number is run as nothing: it must stay one.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(value: Any) -> Any:
    """Return a value as a cell may hold it.

    Args:
        value: Text, or anything else.

    Returns:
        Text that a spreadsheet would run, with an apostrophe before it, and so is text that looks
        as if it had got one; everything else as it is, numbers too, whether number or text.

    Examples:
        >>> guarded("=1+1"), guarded("'=1+1"), guarded("- clear"), guarded("clear"), guarded("-1.5")
        ("'=1+1", "''=1+1", "'- clear", 'clear', '-1.5')
        >>> guarded(-0.25), guarded(None)
        (-0.25, None)
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def restored(cell: str) -> str:
    """Return what `guarded` made a cell of.

    Args:
        cell: Text of a cell.

    Returns:
        It without the apostrophe; text that has none of ours as it is.

    Examples:
        >>> restored("'=1+1"), restored("''=1+1"), restored("'tis clear"), restored("-1.5")
        ('=1+1', "'=1+1", "'tis clear", '-1.5')
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a table as CSV with a header, its cells guarded."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(guarded, columns))
    writer.writerows([guarded(row[name]) for name in columns] for row in rows)
    return stream.getvalue()


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table as UTF-8 CSV, whole or not at all.

    Args:
        path: The final name.
        columns: Their names, in order.
        rows: Each has a value for every column.
    """
    write_text(path, csv_text(columns, rows))
