"""Ids of studies and patients as text, however a program wrote them.

A whole number is an id too: pandas writes a column of ids as numbers, and as 123.0 once a cell of
it is missing; a spreadsheet does the same. They all name the same study.
"""

import re

_WHOLE = re.compile(r"(-?\d+)\.0*")
# What a spreadsheet leaves of an id of twelve digits or more: 1.23457E+11.
_ROUNDED = re.compile(r"-?\d\.\d+[eE]\+\d+")
_LARGEST_EXACT = 2**53  # beyond it, neighbouring whole numbers are one float


def identifier(value: object) -> str | None:
    """Return an id as text.

    Args:
        value: What a file holds: text or a number.

    Returns:
        The text without surrounding white space and without the `.0` of a whole number; empty for
        None, NaN and blank text; None for what is no id: other numbers, true and false, lists, and
        whole numbers of which a spreadsheet or a float has lost digits.

    Examples:
        >>> identifier(123), identifier(123.0), identifier("123.0"), identifier(" s50 ")
        ('123', '123', '123', 's50')
        >>> identifier(None), identifier(1.5), identifier("1.23457E+11"), identifier(True)
        ('', None, None, None)
    """
    if value is None or value != value:  # NaN, by which pandas says that there is nothing
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) <= _LARGEST_EXACT else None
    text = str(value).strip()
    if whole := _WHOLE.fullmatch(text):
        return whole[1]
    return None if _ROUNDED.fullmatch(text) else text
