"""When a study was taken: ISO 8601 local time, or a number of days, as text.

Data sets shift dates or give days only, so a time orders the studies of one patient and says no
more. One set uses one of the two forms. A date may be written in many ways (`20240331`,
`2024-03-31 00:00:00.000`, `20240331T0815`); each is put into one form before anything is compared.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from editgrpo.data.prepared.record import shown
from editgrpo.errors import DataError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# ISO 8601 with and without its marks, as databases, spreadsheets and DICOM write it. A whole number
# that lies in a column with gaps is written with a point: 20240331.0.
_DATE = re.compile(
    r"""
    (?P<year>\d{4}) (?: (?P<mark>[-/]) (?P<month>\d{2}) (?P=mark) (?P<day>\d{2})
                      | (?P<month_>\d{2}) (?P<day_>\d{2}) (?:\.0+)? )
    (?: (?: [ ]*[Tt][ ]* | [ ]+ )
        (?: (?P<hour>\d{1,2}) : (?P<minute>\d{2}) (?: : (?P<second>\d{2}) (?P<part>[.,]\d+)? )?
          | (?P<hour_>\d{2}) (?P<minute_>\d{2}) (?: (?P<second_>\d{2}) (?P<part_>[.,]\d+)? )? )
        [ ]* (?P<zone> [Zz] | [+-]\d{2}(?::?\d{2})? )?
    )?
    | (?P<year__>\d{4}) (?P<month__>\d{2}) (?P<day__>\d{2})      # DICOM's date and time in one
      (?P<hour__>\d{2}) (?P<minute__>\d{2}) (?: (?P<second__>\d{2}) (?P<part__>[.,]\d+)? )?
    """,
    re.VERBOSE | re.ASCII,
)
# What `read_time` makes of a midnight has no time of day, so that a study's own time in this form
# comes of a clock: MIMIC-CXR gives one to every study.
_MIDNIGHT_OF_A_CLOCK = re.compile(r"\d{4}-\d{2}-\d{2}T00:00:00", re.ASCII)
_DATE_DIGITS = re.compile(r"\d{8}(?:\.0+)?|\d{12}|\d{14}", re.ASCII)
_REMEDY = (
    "give a number, such as days, or a date as 2024-03-31 or 2024-03-31T08:15; "
    "`prepare folder` and `prepare hf` read others by --date-format, such as %d.%m.%Y"
)


@dataclass(frozen=True, slots=True)
class Time:
    """A time that was read.

    Attributes:
        text: Its one form: a number as it stands, `2024-03-31`, or `2024-03-31T08:15:00` with a
            fraction and a time zone where they are given.
        form: "number", "date" or "date with a time zone"; positions of two forms cannot be
            compared.
        days: Its position in days, of a date since 1970.
        moment: Of a date; in UTC if no time zone is given.
        is_day: Whether it is a day without a time of day. Midnight to the second is one: it is how
            databases and spreadsheets write a day.
    """

    text: str
    form: str
    days: float
    moment: datetime | None = None
    is_day: bool = False


def read_time(text: str, *, where: str) -> Time:
    """Read a time.

    Args:
        text: A number of days, or a date with or without time of day.
        where: File and line, for messages.

    Returns:
        What it says.

    Raises:
        DataError: It is neither, or no date of the calendar.
    """
    text = text.strip()
    time = _read(text)
    if time is None:
        # Without a cause, which would say the whole text: a misplaced report, perhaps.
        raise DataError(f"{where}: time is {shown(text)}; {_REMEDY}")
    return time


def read_dated(text: str, date_format: str | None, *, where: str) -> Time:
    """Read a time that may be written in a form of its own.

    Args:
        text: A number of days, a date, or a date as the format says.
        date_format: Of `datetime.strptime`, such as `%d.%m.%Y`; None takes what `read_time` takes.
        where: File and line, for messages.

    Returns:
        What it says.

    Raises:
        DataError: It is not of the form.
    """
    if date_format is None:
        return read_time(text, where=where)
    try:
        moment = datetime.strptime(text.strip(), date_format)
    except ValueError:
        # Without a cause, as in `read_time`.
        raise DataError(
            f"{where}: time is {shown(text)}; the date format is {date_format!r}, give that of the "
            "column"
        ) from None
    return read_time(moment.isoformat(), where=where)


def is_impossible_date(time: Time) -> bool:
    """Say whether a number is meant as a date that the calendar lacks: 20240332.

    As days it would be 55,000 years.
    """
    return time.form == "number" and _DATE_DIGITS.fullmatch(time.text) is not None


def time_order(text: str) -> float:
    """Return the position in days of a time that was checked before."""
    return read_time(text, where="a study").days


def is_day_of(day: str, time: str) -> bool:
    """Say whether a time is a day without a time of day, and another one a time of that day.

    Args:
        day: A time that was checked before.
        time: Another one of that form.

    Returns:
        True for `2024-03-31` and `2024-03-31T08:15`, however they are written: nobody knows which
        of the two was first. False for `2024-03-31T00:00:00`, see `_MIDNIGHT_OF_A_CLOCK`.
    """
    if _MIDNIGHT_OF_A_CLOCK.fullmatch(day):
        return False
    first, second = (read_time(text, where="a study") for text in (day, time))
    if not first.is_day or first.moment is None or second.moment is None or second.is_day:
        return False
    return first.moment <= second.moment < first.moment + timedelta(days=1)


def iso_day(text: str) -> str:
    """Return the day of a date as published tables write it.

    Args:
        text: `20150131`, `20150131.0`, `2015-01-31`, with or without a time of day.

    Returns:
        `2015-01-31`; empty if the text is no day of the calendar.
    """
    time = _read(text.strip())
    return "" if time is None or time.moment is None else time.text[: len("2015-01-31")]


@lru_cache(maxsize=1 << 16)
def _read(text: str) -> Time | None:
    date = _DATE.fullmatch(text)
    if date is not None:
        parts = {name.rstrip("_"): part for name, part in date.groupdict().items() if part}
        if (time := _date(parts)) is not None:
            return time
    try:
        number = float(text)
    except ValueError:
        return None
    return Time(text, "number", number) if math.isfinite(number) else None


def _date(parts: dict[str, str]) -> Time | None:
    names = ("year", "month", "day", "hour", "minute", "second")
    numbers = [int(parts.get(name, "0")) for name in names]
    fraction = parts.get("part", "")[1:].rstrip("0")
    zone = parts.get("zone", "").upper()
    try:
        moment = datetime(*numbers, int(fraction[:6].ljust(6, "0")), tzinfo=_zone(zone))  # type: ignore[misc, arg-type]
        days = (moment - _EPOCH) / timedelta(days=1)
    except (ValueError, OverflowError):
        return None  # the 30th of February, 24:00, a time zone of 99 hours
    is_day = not any(numbers[3:]) and not fraction
    text = f"{moment.year:04}-{moment:%m-%d}"
    if not is_day:
        text += f"T{moment:%H:%M:%S}" + (f".{fraction}" if fraction else "")
    if zone:
        text += f"T00:00:00{_offset(moment)}" if is_day else _offset(moment)
    form = "date with a time zone" if zone else "date"
    return Time(text, form, days, moment, is_day)


def _zone(text: str) -> timezone:
    if text in ("", "Z"):
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text.startswith("-") else offset)


def _offset(moment: datetime) -> str:
    return moment.isoformat()[-len("+00:00") :]
