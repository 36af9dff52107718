"""The command lines of README, docs and recipes: their options exist, and they fit together."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from editgrpo.cli import app
from editgrpo.clinical.catalogue import USES
from editgrpo.config import SFTConfig, TrainConfig
from editgrpo.evaluation.catalogue import select_metrics
from editgrpo.recipes import load_recipe
from tests.builders import REPOSITORY

PAGES = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
COMMAND = re.compile(
    r"^(?:\$ |[A-Z_]+=\S+ |(?:torchrun|accelerate) .* -m )?(editgrpo .*)$", flags=re.MULTILINE
)


def commands(page: Path) -> list[list[str]]:
    """Return the words of every command of a page's code blocks, comments left out."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in COMMAND.findall(block.replace("\\\n", " "))]
    words = [shlex.split(line, comments=True)[1:] for line in lines]
    return [one[: one.index(">")] if ">" in one else one for one in words]  # `>` is the shell's


ALL = [(page.relative_to(REPOSITORY), words) for page in PAGES for words in commands(page)]


def parsed(words: list[str]) -> dict[str, Any]:
    """Return what a command would be called with; it is not run."""
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    with command.make_context("editgrpo", list(words)) as context:
        return dict(context.params)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "words"), ALL, ids=lambda value: str(value)[:60])
def test_every_documented_command_takes_its_options(page: Path, words: list[str]) -> None:
    if "--list" in words or "--settings" in words:
        return  # these end a command while it is read
    parsed(words)


def is_written_by(page: Path, recipe: str) -> bool:
    """Say whether a page brings the recipe along; `test_tutorials.py` runs it."""
    return f'title="{recipe}"' in (REPOSITORY / page).read_text("utf-8")


RUNS = [
    (page, words)
    for page, words in ALL
    if words[0] in ("sft", "train") and len(words) > 2 and not is_written_by(page, words[1])
]


@pytest.mark.parametrize(("page", "words"), RUNS, ids=lambda value: str(value)[:60])
def test_annotations_are_looked_for_beside_the_studies_that_are_named(
    page: Path, words: list[str]
) -> None:
    # `editgrpo annotate FOLDER` puts them there; another folder's would end the run as missing.
    options = parsed(words)
    kind = SFTConfig if words[0] == "sft" else TrainConfig
    config = load_recipe(options["recipe"], kind, options["changes"] or [])
    assert config.clinical.store in (None, f"{config.data.folder}/annotations")


def test_the_readme_scores_with_what_it_has_fetched() -> None:
    words = commands(REPOSITORY / "README.md")
    (fetch,) = (parsed(one) for one in words if one[:3] == ["models", "fetch", "--for"])
    (evaluate,) = (parsed(one) for one in words if one[0] == "evaluate")
    metrics = select_metrics(evaluate["metrics"].split(","))
    needed = {model for metric in metrics for model in metric.models}
    assert needed <= set(USES[fetch["use"]])
