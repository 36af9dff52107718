"""The notebooks show what they give now: executed anew, every output is the one that is kept."""

from pathlib import Path

import pytest
from docs.tooling.notebooks import FOLDER, as_file, as_markdown, executed, read

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_as_it_was_executed(path: Path) -> None:
    kept = path.read_text(encoding="utf-8")
    assert as_file(executed(read(path))) == kept, "run python docs/tooling/notebooks.py"


def test_cells_run_in_order_with_the_names_of_those_before() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {"cell_type": "code", "source": ["x = 2\n", "print(x)\n", "x + 1"]},
        {"cell_type": "code", "source": ["x = x * 5\n", "x"]},
        {"cell_type": "code", "source": ["y = x"]},
    ]
    result = executed({"cells": cells})
    outputs = [cell.get("outputs") for cell in result["cells"]]
    assert outputs[0] is None
    assert [one.get("text") or one["data"]["text/plain"] for one in outputs[1]] == [["2\n"], ["3"]]
    assert [one["data"]["text/plain"] for one in outputs[2]] == [["10"]]
    assert outputs[3] == []
    page = as_markdown(result)
    assert page.startswith("# Title\n\n```python\nx = 2\n")
    assert "```{ .text .output }\n10\n```" in page


def test_a_cell_that_fails_fails_the_notebook() -> None:
    with pytest.raises(ZeroDivisionError):
        executed({"cells": [{"cell_type": "code", "source": ["1 / 0"]}]})


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["edits", "rewards"]
