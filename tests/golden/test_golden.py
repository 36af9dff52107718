"""The offline numbers of invented reports stay what they are (remade by `tests/golden/make.py`)."""

import json
from typing import Any

import pytest

from tests.golden.make import GOLDEN, outcome

ROWS: list[dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))["pairs"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["rollout"][:24] or "empty")
def test_rules_say_what_they_said(row: dict[str, Any]) -> None:
    found = outcome(row["rollout"], row["reference"])
    assert found.pop("reward") == pytest.approx(row["reward"], abs=1e-9)
    assert found == {name: value for name, value in row.items() if name != "reward"}
