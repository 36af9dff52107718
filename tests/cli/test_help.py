"""What a command's help says to somebody who reads it for the first time."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from editgrpo.cli import app


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for part, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {part}".strip())
    if not hasattr(command, "commands"):
        yield name, command


COMMANDS = dict(commands(get_command(app)))


def options(name: str) -> dict[str, Any]:
    return {option: one for one in COMMANDS[name].params for option in one.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_stand_out_from_what_is_typed(name: str) -> None:
    arguments = [one for one in COMMANDS[name].params if one.param_type_name == "argument"]
    assert [
        one.name for one in arguments if not re.fullmatch(r"[]A-Z|.[]+", one.metavar or "")
    ] == []


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("generate", {"data"}),
        ("try", {"data"}),
        ("pairs", {"data", "edit", "reward", "clinical"}),
    ],
)
def test_the_help_of_set_names_what_has_an_effect(name: str, sections: set[str]) -> None:
    """Other sections of a recipe are refused by these commands."""
    words = options(name)["--set"].help
    named = re.findall(r"(\w+)\.\w+=", words)
    assert named and set(named) <= sections


@pytest.mark.parametrize("name", ["prepare chexpert-plus", "prepare hf"])
def test_shares_that_replace_splits_say_so_and_name_no_default(name: str) -> None:
    words = options(name)["--split-shares"].help
    assert "in place of the set's own splits" in words and "Default" not in words
