"""The rooms of training stand on one another in one order, and TRL is known where docs say so."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import REPOSITORY

TRAINING = REPOSITORY / "src/editgrpo/training"
# From the ground up; what lies in no room stands on top of them, but for the seeds at the bottom.
ROOMS = ("seeds", "policy", "packed", "sampling", "step", "run")


def imported(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports, in functions, too."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def floor(place: str) -> int:
    """Return how high a room stands; what lies in none is above all."""
    return ROOMS.index(place) if place in ROOMS else len(ROOMS)


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_is_below_it(room: str) -> None:
    files = (
        [TRAINING / f"{room}.py"] if room == "seeds" else sorted((TRAINING / room).rglob("*.py"))
    )
    assert files
    above = {
        (file.name, module)
        for file in files
        for module in imported(file)
        if (found := re.match(r"editgrpo\.training\.(\w+)", module))
        and floor(found.group(1)) > floor(room)
    }
    assert not above


@pytest.mark.slow
def test_contributing_names_the_modules_that_know_trl() -> None:
    package = REPOSITORY / "src/editgrpo"
    knowing = {
        str(file.relative_to(TRAINING))
        for file in package.rglob("*.py")
        if any(module.split(".")[0] == "trl" for module in imported(file))
        if file.is_relative_to(TRAINING)
    }
    text = " ".join((REPOSITORY / "CONTRIBUTING.md").read_text("utf-8").split())
    (sentence,) = re.findall(r"Within `training/`, ([^.]*(?:\.py[^.]*)*) alone know TRL\.", text)
    assert set(re.findall(r"`([^`]+)`", sentence)) == knowing
