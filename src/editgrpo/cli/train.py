"""`editgrpo train`: EditGRPO and its variants."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.estimate import EstimateOptions, estimate_options, print_estimate
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
    shared_options,
)
from editgrpo.cli.output import claim_run_folder, hide_loading_bars
from editgrpo.cli.places import check_places
from editgrpo.cli.requirements import require_for_run
from editgrpo.config import TrainConfig
from editgrpo.model_files import check_model
from editgrpo.ownership import is_first_process
from editgrpo.provenance import command_line
from editgrpo.recipes import dump_config, load_recipe

EXAMPLES = examples(
    "editgrpo train editgrpo-mimic-cxr --set data.folder=studies/mine",
    "editgrpo train dr-grpo --seed 1 --output runs/dr-grpo-1",
    "editgrpo train editgrpo-lora --estimate --gpu rtx-4090",
    "torchrun --standalone --nproc_per_node 4 -m editgrpo train editgrpo-mimic-cxr",
)


@shared_options("estimating", estimate_options)
def train(
    recipe: Recipe,
    changes: Set = None,
    output: RunFolder = None,
    seed: RunSeed = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    estimating: EstimateOptions | None = None,
    _: Annotated[bool, settings_option(TrainConfig())] = False,
) -> None:
    """Train with EditGRPO: optimise clinical rewards; half of each group is edited rollouts."""
    overrides = recipe_overrides(changes, seed=seed, output=output)
    config = load_recipe(recipe, TrainConfig, overrides)
    if dry_run:
        typer.echo(dump_config(config), nl=False)
        return
    if estimating is not None:
        print_estimate(config, estimating)
        return
    require_for_run(config)
    check_places(config)
    check_model(config.model.path, config.model.revision)
    claim_run_folder(Path(config.output), resume=resume, overwrite=overwrite)

    from editgrpo.display.terminal import StepLine
    from editgrpo.training.train import run_training

    hide_loading_bars()
    steps = StepLine(config.steps)
    model = run_training(config, resume=resume, command=command_line(), on_step=steps.show)
    if is_first_process():
        typer.echo(f"The trained model is in {model}")
