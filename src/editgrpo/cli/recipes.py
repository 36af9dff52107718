"""`editgrpo recipes`: what comes with the package, shown and copied; what a recipe may say."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from editgrpo.cli.options import examples
from editgrpo.recipes import dump_config, load_recipe
from editgrpo.recipes.copies import copy_published
from editgrpo.recipes.published_files import KINDS, Reader, find_published, published_files

LIST_EXAMPLES = examples("editgrpo recipes list | grep grpo")
SHOW_EXAMPLES = examples("editgrpo recipes show dr-grpo", "editgrpo recipes show fsdp2")
COPY_EXAMPLES = examples("editgrpo recipes copy dr-grpo recipes", "editgrpo recipes copy fsdp2 .")
SCHEMA_EXAMPLES = examples("editgrpo recipes schema train > train.schema.json")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="A name from `editgrpo recipes list`.")]


def list_recipes() -> None:
    """List the recipes with the command that takes each and a description."""
    files = published_files()
    name_width = max(len(one.name) for one in files)
    reader_width = max(len(one.reader.value) for one in files)
    for one in files:
        typer.echo(f"{one.name:{name_width}}  {one.reader.value:{reader_width}}  {one.summary()}")


def show(name: _Name) -> None:
    """Print every setting of a recipe, including inherited ones and defaults.

    A launch file for accelerate is printed as it is.
    """
    chosen = find_published(name)
    if chosen.reader in KINDS:
        text = dump_config(load_recipe(chosen.path, KINDS[chosen.reader]))
    else:
        text = chosen.path.read_text(encoding="utf-8")
    typer.echo(text, nl=False)


def schema(
    command: Annotated[
        Literal["sft", "train"],
        typer.Argument(metavar="COMMAND", help="The command that reads the recipe."),
    ],
) -> None:
    """Print the JSON schema of a command's recipes, for editors.

    It has each key with its type, bounds, default and meaning.
    """
    from editgrpo.recipes.schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(KINDS[Reader(command)]), indent=2))


def copy(
    name: _Name,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Destination; created if missing.")
    ] = Path("."),
) -> None:
    """Copy a recipe, and the recipe that it extends, into a folder for you to change.

    Existing files are never replaced.
    """
    chosen = find_published(name)
    for path in copy_published(chosen, folder):
        typer.echo(path)
