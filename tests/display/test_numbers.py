"""The worked examples of the number formats hold."""

import doctest

import pytest

from editgrpo.display import numbers


def test_worked_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(numbers)
    assert result.attempted >= 9
    assert result.failed == 0


@pytest.mark.parametrize("value", [9.9994, 9.9996, 99.94, 99.96, 0.00099999, -9.9996, -123.4])
def test_numbers_at_the_seams_between_forms_stay_short(value: float) -> None:
    assert len(numbers.format_number(value).lstrip("-")) <= 7
    assert float(numbers.format_number(value)) == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize(
    "seconds", [0, 1e-9, 0.0051, 0.994, 0.996, 9.94, 9.96, 59.4, 59.6, 3599.6, 86399.6, 8e6]
)
def test_durations_fit_the_column_of_the_step_line(seconds: float) -> None:
    assert len(numbers.format_duration(seconds)) <= 6


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0s"), (1e-6, "<0.01s"), (0.0051, "0.01s")])
def test_no_duration_reads_as_0_00(seconds: float, text: str) -> None:
    """The end of a run is 0 s away, and a quick stage took some time."""
    assert numbers.format_duration(seconds) == text
