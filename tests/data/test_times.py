import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.data.times import is_day_of, iso_day, read_time, time_order
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
    assert read_time(text, where="w").form == form
    assert time_order(text) == pytest.approx(order, abs=1e-9)


def test_the_clock_of_the_machine_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        time.tzset()
        # Clocks went forward that night: by New York's, the day had 23 hours.
        first, second = (time_order(f"2024-03-{day}") for day in (10, 11))
    time.tzset()
    assert second - first == 1


@given(st.datetimes(), st.datetimes())
def test_dates_keep_their_order(first: datetime, second: datetime) -> None:
    orders = [time_order(moment.isoformat()) for moment in (first, second)]
    if abs(orders[0] - orders[1]) > 1e-7:  # 10 ms: further off than a float tells in the year 9999
        assert (first < second) is (orders[0] < orders[1])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_themselves(number: float) -> None:
    time = read_time(repr(number), where="w")
    assert (time.days, time.form) == (number, "number")


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-Infinity", "yesterday", "2024-02-30", "08:15"]
)
def test_anything_else_is_an_error_that_names_the_place(text: str) -> None:
    with pytest.raises(DataError, match=r"^table\.csv, line 3: time is '.*'; give a number"):
        read_time(text, where="table.csv, line 3")


def test_a_misplaced_sentence_stays_out_of_the_message() -> None:
    with pytest.raises(DataError, match="time is a text of 37 characters") as caught:
        read_time("The heart is enlarged, lungs clear.", where="w")
    assert "heart" not in str(caught.value)


DAY = [
    "2024-03-31", "20240331", "20240331.0", "2024/03/31", " 2024-03-31 ", "2024-03-31T00:00",
    "2024-03-31 00:00", "2024-03-31 00:00:00", "2024-03-31 00:00:00.000", "2024-03-31T00:00:00,0",
    "20240331T000000", "20240331000000", "2024-03-31 0:00",
]  # fmt: skip
MORNING = [
    "2024-03-31T08:15", "20240331T0815", "2024-03-31 08:15:00.000", "20240331 081500",
    "2024-03-31 8:15", "202403310815", "20240331081500.000", "2024-03-31t08:15:00",
]  # fmt: skip
OF_MORNING = "2024-03-31T08:15:00"


@pytest.mark.parametrize("text", DAY)
def test_a_day_has_one_form_however_it_is_written(text: str) -> None:
    assert (read_time(text, where="w").text, read_time(text, where="w").is_day) == (
        "2024-03-31",
        True,
    )
    assert time_order(text) == time_order("2024-03-31")
    assert iso_day(text) == "2024-03-31"


@pytest.mark.parametrize("text", MORNING)
def test_a_time_of_day_has_one_form_however_it_is_written(text: str) -> None:
    assert (read_time(text, where="w").text, read_time(text, where="w").is_day) == (
        OF_MORNING,
        False,
    )
    assert iso_day(text) == "2024-03-31"
    assert time_order(text) == pytest.approx(time_order("2024-03-31") + 8.25 / 24, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("day", DAY)
@pytest.mark.parametrize("time", MORNING)
def test_a_day_holds_its_times_however_both_are_written(day: str, time: str) -> None:
    assert is_day_of(day, time)
    assert not is_day_of(time, day)
    assert not is_day_of(day, time.replace("0331", "0401").replace("03-31", "04-01"))


def test_midnight_of_a_clock_is_a_time_once_it_is_a_studys() -> None:
    assert not is_day_of("2150-01-01T00:00:00", "2150-01-01T00:00:01")
    assert is_day_of("2150-01-01T00:00", "2150-01-01T00:00:01")
    assert read_time("2150-01-01T00:00:00", where="w").text == "2150-01-01"


def test_days_of_another_zone_and_numbers_hold_no_time_of_a_day() -> None:
    assert is_day_of("2024-03-31T00:00Z", "2024-03-31T23:59+00:00")
    assert not is_day_of("2024-03-31T00:00+00:00", "2024-03-31T23:59-02:00")
    assert not is_day_of("5", "5.25") and not is_day_of("2024-03-31", "2024-03-31")
    assert read_time("2024-03-31 08:15Z", where="w").text == "2024-03-31T08:15:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-31T24:00", "2024-03-31 08:60", "2024-02-30", "2024-03-31T08:15 AM", "31.03.2024",
        "03/31/2024", "2024-03", "2024-0331", "2024-03-31T815", "2024-03-31T08:15+99:00",
        "0000-01-01", "20240331T", "2024-03-31T08:15:61", "0001-01-01T00:00+05:00x",
    ],
)  # fmt: skip
def test_a_time_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(DataError, match=r"^w: time is .*; give a number") as error:
        read_time(text, where="w")
    assert "\n" not in str(error.value) and error.value.__cause__ is None


@given(st.datetimes())
def test_the_one_form_of_a_time_is_read_as_the_same_time(moment: datetime) -> None:
    once = read_time(moment.isoformat(), where="w")
    assert read_time(once.text, where="w") == once
    assert once.moment is not None and once.moment.replace(tzinfo=None) == moment
