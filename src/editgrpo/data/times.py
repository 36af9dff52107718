"""When a study was taken: ISO 8601 local time, or a number of days, as text.

Data sets shift dates or give days only, so a time orders the studies of one patient and says no
more. One set uses one of the two forms.
"""

import math
from datetime import UTC, datetime
from functools import lru_cache

from editgrpo.data.record import shown
from editgrpo.errors import DataError

SECONDS_PER_DAY = 86_400.0


def parse_time(text: str, *, where: str) -> tuple[float, str]:
    """Read a time.

    Args:
        text: A number of days, or a date with or without time of day, such as `2024-03-31T08:15`.
        where: File and line, for messages.

    Returns:
        Its position in days, and its form: "number", "date" or "date with a time zone". Positions
        of two forms cannot be compared.

    Raises:
        DataError: It is neither.
    """
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if math.isfinite(number):
            return number, "number"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        # Without the cause, which says the whole text: a misplaced report, perhaps.
        raise DataError(
            f"{where}: time is {shown(text)}; give a number, such as days, or a date as 2024-03-31"
        ) from None
    form = "date" if moment.tzinfo is None else "date with a time zone"
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() / SECONDS_PER_DAY, form


@lru_cache(maxsize=1 << 16)
def time_order(text: str) -> float:
    """Return the position in days of a time that was checked before, see `parse_time`."""
    return parse_time(text, where="a study")[0]


def is_day_of(day: str, time: str) -> bool:
    """Say whether a time is a day without a time of day, and another one a time of that day.

    Args:
        day: A time that was checked before.
        time: Another one of that form.

    Returns:
        True for `2024-03-31` and `2024-03-31T08:15`: nobody knows which of the two was first.
    """
    return time.startswith(f"{day}T")
