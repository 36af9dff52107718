"""The notebooks of docs/notebooks: executing them, and turning them into Markdown.

They need plain Python alone: cells of code and text, what was printed, and the value of a cell's
last expression. So this is small, and Jupyter is needed only to open them.

    python docs/tooling/notebooks.py        # executes all of them anew and writes their outputs
"""

import ast
import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"


def read(path: Path) -> dict[str, Any]:
    """Read a notebook (nbformat 4)."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def executed(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook with the outputs that its cells have now, run in order from nothing."""
    notebook = copy.deepcopy(notebook)
    names: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        cell["execution_count"] = number
        cell["outputs"] = _outputs("".join(cell["source"]), number, names)
    return notebook


def _outputs(source: str, number: int, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one cell in a namespace; return what it printed and the value that it ends with."""
    body = ast.parse(source, filename=f"cell {number}").body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), f"cell {number}", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": _lines(printed)})
    if value is not None:
        outputs.append(
            {
                "data": {"text/plain": _lines(io.StringIO(repr(value)))},
                "execution_count": number,
                "metadata": {},
                "output_type": "execute_result",
            }
        )
    return outputs


def _lines(text: io.StringIO) -> list[str]:
    """Return lines with their ends, as notebooks keep text."""
    return text.getvalue().splitlines(keepends=True)


def as_markdown(notebook: dict[str, Any]) -> str:
    """Return a notebook as a page: its text, its code, and what each cell gave."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            text = output["text"] if "text" in output else output["data"]["text/plain"]
            parts.append("```{ .text .output }\n" + "".join(text).rstrip("\n") + "\n```")
    return "\n\n".join(parts) + "\n"


def as_file(notebook: dict[str, Any]) -> str:
    """Return what a notebook's file holds."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        path.write_text(as_file(executed(read(path))), encoding="utf-8")
