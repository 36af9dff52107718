"""The examples of docs/edit-rules.md run and print what the page says."""

import doctest

from tests.builders import REPOSITORY


def test_the_examples_of_the_page_are_true() -> None:
    page = REPOSITORY / "docs" / "edit-rules.md"
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert failed == 0
    assert tried >= 8
