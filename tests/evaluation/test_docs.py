"""The examples of docs/evaluation.md run as they stand."""

import re
from pathlib import Path

import pytest

from tests.builders import REPOSITORY

BLOCKS = re.findall(
    r"```python\n(.*?)```", (REPOSITORY / "docs" / "evaluation.md").read_text(), flags=re.DOTALL
)


@pytest.mark.parametrize("block", BLOCKS)
def test_example_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "docs/evaluation.md", "exec"), {})


def test_there_are_examples() -> None:
    assert len(BLOCKS) == 2
