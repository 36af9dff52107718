"""Published JSON files, however large: read one entry at a time, with errors that name the place.

`json.load` would keep all entries at once, and of two entries with one key it silently keeps the
last; both matter where a file holds 140,000 studies. No message holds anything of a value.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from editgrpo.errors import DataError
from editgrpo.foreign import reading

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_AGAIN = "download the file again"


def read_entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Read the entries of a file that is one JSON object.

    Args:
        path: UTF-8, with or without a byte order mark.

    Yields:
        Key and parsed value of each entry, in file order; a repeated key comes repeatedly. NaN and
        infinities, which JSON does not know but Python writes, are floats.

    Raises:
        DataError: The file cannot be read to its end, or is not one JSON object.
    """
    for key, value in _values(path, "{", "}", "one JSON object, {...}"):
        if not isinstance(key, str) or not is_unicode(key):
            raise DataError(f"{path}: holds a key that is no text; {_AGAIN}")
        yield key, value


def read_items(path: Path) -> Iterator[Any]:
    """Read the items of a file that is one JSON list.

    Args:
        path: UTF-8, with or without a byte order mark.

    Yields:
        The parsed items in file order.

    Raises:
        DataError: The file cannot be read to its end, or is not one JSON list.
    """
    for _, value in _values(path, "[", "]", "one JSON list, [...]"):
        yield value


def _values(path: Path, opening: str, closing: str, wanted: str) -> Iterator[tuple[Any, Any]]:
    """Yield key (None in a list) and value of each entry."""
    text = _read_text(path)
    position, key = _opened(text, opening, path, wanted), None
    while not text.startswith(closing, position):
        if opening == "{":
            key, position = _decoded(text, position, path)
            position = _after(text, position, ":", path)
        value, position = _decoded(text, position, path)
        yield key, value
        position = _next(text, position, closing, path)
    rest = _skip(text, position + 1)
    if rest != len(text):
        raise DataError(_not_json(path, json.JSONDecodeError("something follows", text, rest)))


def is_unicode(text: str) -> bool:
    r"""Say whether a text can be written; JSON can hold half of a surrogate pair, `"\ud800"`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_text(path: Path) -> str:
    with reading(path, "give a readable file", fault="{reason}"):
        content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path}: is empty; {_AGAIN}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8; save the file as UTF-8, or download it again"
        ) from error


def _decoded(text: str, position: int, path: Path) -> tuple[Any, int]:
    """Return the value that begins at a position, and where it ends."""
    # A number of thousands of digits is a ValueError without a place.
    with reading(path, _AGAIN):
        try:
            return _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise DataError(_not_json(path, error)) from error
        except RecursionError as error:
            raise DataError(f"{path}: is nested too deeply; {_AGAIN}") from error


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _opened(text: str, bracket: str, path: Path, wanted: str) -> int:
    """Return where the first entry begins."""
    start = _skip(text, 0)
    if not text.startswith(bracket, start):
        raise DataError(f"{path}: must be {wanted}; {_AGAIN}")
    return _skip(text, start + 1)


def _after(text: str, position: int, mark: str, path: Path) -> int:
    """Return where the next token begins after a mark that must come now."""
    position = _skip(text, position)
    if not text.startswith(mark, position):
        raise DataError(_not_json(path, json.JSONDecodeError(f"{mark!r} expected", text, position)))
    return _skip(text, position + 1)


def _next(text: str, position: int, closing: str, path: Path) -> int:
    """Return where the next entry begins, or the closing bracket is."""
    position = _skip(text, position)
    if text.startswith(closing, position):
        return position
    following = _after(text, position, ",", path)
    if text.startswith(closing, following):
        raise DataError(
            _not_json(path, json.JSONDecodeError("a value must follow the comma", text, position))
        )
    return following


def _not_json(path: Path, error: json.JSONDecodeError) -> str:
    is_cut = error.msg.startswith("Unterminated string")
    if is_cut or error.pos >= len(error.doc.rstrip()):
        return f"{path}: ends in the middle; {_AGAIN}"
    message = error.msg[:1].lower() + error.msg[1:]
    return f"{path}, line {error.lineno}, column {error.colno}: not JSON ({message}); {_AGAIN}"
