"""Days as published tables write them, to ISO 8601."""

import re
from datetime import date

# 20150101, and 20150101.0 as tables write a whole number in a column with gaps; 2015-01-01.
_DAY = re.compile(r"(\d{4})(?:(\d{2})(\d{2})(?:\.0+)?|-(\d{2})-(\d{2}))(?:[ T]00:00:00)?")


def iso_day(text: str) -> str:
    """Read a day.

    Args:
        text: `20150131`, `20150131.0`, `2015-01-31`, or the last one at midnight.

    Returns:
        `2015-01-31`; empty if the text is no day of the calendar.
    """
    match = _DAY.fullmatch(text.strip())
    if match is None:
        return ""
    year, *rest = (int(part) for part in match.groups() if part)
    try:
        return date(year, *rest).isoformat()
    except ValueError:
        return ""
