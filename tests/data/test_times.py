import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.data.times import parse_time, time_order
from editgrpo.errors import DataError


@pytest.mark.parametrize(
    ("text", "order", "form"),
    [
        ("0", 0.0, "number"),
        ("-3.5", -3.5, "number"),
        ("1970-01-01", 0.0, "date"),
        ("1970-01-02", 1.0, "date"),
        ("1970-01-02T06:00", 1.25, "date"),
        ("1970-01-02T06:00:00.000", 1.25, "date"),
        ("1970-01-01T00:00:43.200", 0.0005, "date"),  # 43.2 s of 86,400 s
        ("1969-12-31", -1.0, "date"),
        ("2150-01-01", 65744.0, "date"),  # 180 years of 365 days and 44 leap days: 2100 has none
        # Two hours before UTC; it may not stand beside times whose zone nobody knows.
        ("1970-01-02T06:00+02:00", 1.25 - 2 / 24, "date with a time zone"),
    ],
)
def test_a_time_is_a_place_on_a_line_of_days(text: str, order: float, form: str) -> None:
    assert parse_time(text, where="w") == (pytest.approx(order, abs=1e-9), form)
    assert time_order(text) == pytest.approx(order, abs=1e-9)


def test_the_clock_of_the_machine_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        time.tzset()
        # Clocks went forward that night: by New York's, the day had 23 hours.
        first, second = (parse_time(f"2024-03-{day}", where="w")[0] for day in (10, 11))
    time.tzset()
    assert second - first == 1


@given(st.datetimes(), st.datetimes())
def test_dates_keep_their_order(first: datetime, second: datetime) -> None:
    orders = [parse_time(moment.isoformat(), where="w")[0] for moment in (first, second)]
    if abs(orders[0] - orders[1]) > 1e-7:  # 10 ms: further off than a float tells in the year 9999
        assert (first < second) is (orders[0] < orders[1])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_themselves(number: float) -> None:
    assert parse_time(repr(number), where="w") == (number, "number")


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-Infinity", "yesterday", "2024-02-30", "08:15"]
)
def test_anything_else_is_an_error_that_names_the_place(text: str) -> None:
    with pytest.raises(DataError, match=r"^table\.csv, line 3: time is '.*'; give a number"):
        parse_time(text, where="table.csv, line 3")


def test_a_misplaced_sentence_stays_out_of_the_message() -> None:
    with pytest.raises(DataError, match="time is a str of 37 characters") as caught:
        parse_time("The heart is enlarged, lungs clear.", where="w")
    assert "heart" not in str(caught.value)
