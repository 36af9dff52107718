"""`editgrpo sft`: supervised fine-tuning."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import (
    DryRun,
    Overwrite,
    Recipe,
    Resume,
    RunFolder,
    RunSeed,
    Set,
    examples,
    recipe_overrides,
    settings_option,
)
from editgrpo.cli.output import claim_run_folder, hide_loading_bars
from editgrpo.cli.places import check_places
from editgrpo.cli.requirements import require_for_run
from editgrpo.config import SFTConfig
from editgrpo.model_files import check_model
from editgrpo.ownership import is_first_process
from editgrpo.provenance import command_line
from editgrpo.recipes import dump_config, load_recipe

EXAMPLES = examples(
    "editgrpo sft sft-mimic-cxr --set data.folder=studies/mine --output runs/sft",
)


def sft(
    recipe: Recipe,
    changes: Set = None,
    output: RunFolder = None,
    seed: RunSeed = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    _: Annotated[bool, settings_option(SFTConfig())] = False,
) -> None:
    """Fine-tune a vision-language model on the findings of reference reports."""
    overrides = recipe_overrides(changes, seed=seed, output=output)
    config = load_recipe(recipe, SFTConfig, overrides)
    if dry_run:
        typer.echo(dump_config(config), nl=False)
        return
    require_for_run(config)
    check_places(config)
    check_model(config.model.path, config.model.revision)
    claim_run_folder(Path(config.output), resume=resume, overwrite=overwrite)

    from editgrpo.display.fine_tuning import FineTuningLine
    from editgrpo.display.terminal import closing_bar
    from editgrpo.training.epochs import model_for_rl
    from editgrpo.training.sft import run_sft

    hide_loading_bars()
    line = FineTuningLine()
    with closing_bar("Generating validation reports") as on_validation:
        model = run_sft(
            config,
            resume=resume,
            command=command_line(),
            on_steps=line.begin,
            on_metrics=line.show,
            on_validation=on_validation if is_first_process() else None,
        )
    if is_first_process():
        typer.echo(f"The model of the best epoch is in {model}")
        typer.echo(f"That of the epoch before, for `editgrpo train`, is in {model_for_rl(model)}")
