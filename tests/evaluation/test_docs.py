"""The pages on metrics and evaluation: examples run as they stand, and no metric is missing or
stale."""

import re
from pathlib import Path

import pytest

from editgrpo.evaluation.catalogue import METRIC_SETS, METRICS
from tests.builders import REPOSITORY

PAGES = {name: (REPOSITORY / "docs" / name).read_text() for name in ("metrics.md", "evaluation.md")}
BLOCKS = [
    (name, block)
    for name, page in PAGES.items()
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
]


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_example_runs(
    name: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, f"docs/{name}", "exec"), {})


def test_there_are_examples() -> None:
    assert [name for name, _ in BLOCKS] == ["metrics.md"] * 5 + ["evaluation.md"]


def test_every_metric_is_explained() -> None:
    prose = re.sub(r"```.*?```", "", PAGES["metrics.md"], flags=re.DOTALL)
    explained = set(re.findall(r"`([^`]+)`", prose))
    assert set(METRICS) - explained == set()


def test_no_metric_is_named_that_does_not_exist() -> None:
    prefixes = "rules|chexbert|radgraph|text|average|reward"
    named = re.findall(
        rf"`((?:{prefixes})/[a-z0-9/@.-]*[a-z0-9]|ratescore@[^`]+)`", PAGES["metrics.md"]
    )
    assert set(named) - set(METRICS) == {
        "ratescore@0.5.0-guarded",
        "text/new-sentences",
    }
    assert "paper" in METRIC_SETS
