"""What `sft` and `train` have in common: what they are told of a run, and what is checked first."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from editgrpo.cli.options import MOST_SEED, Overwrite, Set, shared_options
from editgrpo.cli.output import claim_run_folder
from editgrpo.cli.places import check_places
from editgrpo.cli.requirements import require_for_run
from editgrpo.cli.sharing import check_may_push, push_run
from editgrpo.config import SFTConfig, TrainConfig
from editgrpo.model_files import check_model
from editgrpo.recipes import dump_config, load_recipe, text_override

_ConfigT = TypeVar("_ConfigT", SFTConfig, TrainConfig)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What a user says of a run, besides its recipe."""

    changes: Set = None
    output: Annotated[
        str | None, typer.Option(help="Run folder; short for --set output=FOLDER.")
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=MOST_SEED, help="Seed of all random draws; short for --set seed=NUMBER."
        ),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run in the output.")
    ] = False
    overwrite: Overwrite = False
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="REPO",
            help="At the end, upload the model with a card to this private repository of the Hub.",
        ),
    ] = None
    may_share: Annotated[
        bool,
        typer.Option(
            "--yes-i-may-share-this",
            help="For --push-to-hub: you have read the terms of the training data, and they allow "
            "it.",
        ),
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")
    ] = False

    def configuration(self, recipe: Path, kind: type[_ConfigT]) -> _ConfigT:
        """Read the run's configuration; print it and end the command, if that is all.

        Args:
            recipe: A file, or the name of a recipe that comes with the package. `--seed` and
                `--output` come after the `--set` overrides, so that they win.
            kind: What it configures.

        Returns:
            The configuration.

        Raises:
            ConfigError: it cannot be read.
            Exit: it was printed.
        """
        changes = list(self.changes or [])
        changes += [] if self.seed is None else [f"seed={self.seed}"]
        changes += [] if self.output is None else [text_override("output", self.output)]
        config = load_recipe(recipe, kind, changes)
        if self.dry_run:
            typer.echo(dump_config(config), nl=False)
            raise typer.Exit
        return config

    def claim(self, config: SFTConfig | TrainConfig) -> None:
        """Refuse what cannot run, before anything slow is imported; then own the run folder."""
        require_for_run(config)
        check_places(config)
        check_model(config.model.path, config.model.revision)
        if self.push_to_hub is not None:
            check_may_push(Path(config.data.folder), may_share=self.may_share)
        claim_run_folder(Path(config.output), resume=self.resume, overwrite=self.overwrite)

    def give_away(self, config: SFTConfig | TrainConfig) -> None:
        """Upload the model of a run that has ended, if that was asked for."""
        if self.push_to_hub is not None:
            push_run(Path(config.output), self.push_to_hub, may_share=self.may_share)


run_options = shared_options("asked", RunRequest)
"""Decorates a command that takes the keyword argument `asked`, a `RunRequest`."""
