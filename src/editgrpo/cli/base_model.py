"""The base model of a recipe, fetched before there is a run: `editgrpo models fetch --base`."""

from collections.abc import Sequence
from pathlib import Path

import typer

from editgrpo.config import SFTConfig, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.recipes import load_recipe


def fetch_base(recipe: Path, changes: Sequence[str]) -> None:
    """Fetch the model of a recipe into the Hub's cache, where runs find it, and say how to pin it.

    Args:
        recipe: Of `sft` or `train`.
        changes: As `--set` takes them.

    Raises:
        ConfigError: the recipe cannot be read.
        ModelError: the model is a folder that is not there, or cannot be fetched.
    """
    model = _config(recipe, changes).model
    folder = Path(model.path)
    if folder.is_dir():
        typer.echo(f"{model.path}: a local folder; nothing to fetch")
        return
    from editgrpo.training.policy.load import resolve_model_folder

    folder = resolve_model_folder(model.path, model.revision)
    # The Hub's cache names a folder by its commit.
    typer.echo(f"{model.path}: complete, in {folder}")
    if model.revision != folder.name:
        typer.echo(f"To pin it in every run: --set model.revision={folder.name}")
    typer.echo("Without a network: HF_HUB_OFFLINE=1 before the command of the run")


def _config(recipe: Path, changes: Sequence[str]) -> SFTConfig | TrainConfig:
    try:
        return load_recipe(recipe, TrainConfig, changes)
    except ConfigError as of_train:
        try:
            return load_recipe(recipe, SFTConfig, changes)
        except ConfigError:
            raise of_train from None
