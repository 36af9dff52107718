"""Ids of whole numbers, however a program wrote them."""

import pytest

from editgrpo.data.identifiers import identifier


@pytest.mark.parametrize(
    "written", [50414267, 50414267.0, "50414267", "50414267.0", " 50414267.00 ", "50414267."]
)
def test_one_number_is_one_id(written: object) -> None:
    assert identifier(written) == "50414267"


@pytest.mark.parametrize(
    "text", ["s50414267", "007", "1.2.840.10008", "1.5", "2024-01", "1e5", "-", "12.0a"]
)
def test_other_text_stays(text: str) -> None:
    assert identifier(text) == text


@pytest.mark.parametrize("nothing", [None, "", "  ", float("nan")])
def test_nothing_is_empty(nothing: object) -> None:
    assert identifier(nothing) == ""


@pytest.mark.parametrize(
    "wrong", [True, 1.5, float("inf"), 2.0**60, "1.23457E+11", "5.0414e+07", ["a"], {"a": 1}]
)
def test_what_has_lost_digits_or_is_no_id_is_none(wrong: object) -> None:
    assert identifier(wrong) is None
