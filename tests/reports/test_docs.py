"""The examples of docs/annotators.md run and print what the page says."""

import re

import pytest

from tests.builders import REPOSITORY

PAGE = (REPOSITORY / "docs" / "annotators.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(("code", "output"), EXAMPLES)
def test_example_prints_what_the_page_says(
    code: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(code, "docs/annotators.md", "exec"), {})
    assert capsys.readouterr().out == output


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) == 2
