"""`editgrpo train`: EditGRPO and its variants."""

from typing import Annotated

import typer

from editgrpo.cli.estimate import EstimateOptions, print_estimate
from editgrpo.cli.options import Recipe, examples, settings_option, shared_options
from editgrpo.cli.output import hide_loading_bars
from editgrpo.cli.runs import RunRequest, run_options
from editgrpo.config import TrainConfig
from editgrpo.ownership import is_first_process
from editgrpo.provenance import command_line

EXAMPLES = examples(
    "editgrpo train editgrpo-mimic-cxr --set data.folder=studies/mine",
    "editgrpo train dr-grpo --seed 1 --output runs/dr-grpo-1",
    "editgrpo train editgrpo-lora --estimate --gpu rtx-4090",
    "torchrun --standalone --nproc_per_node 4 -m editgrpo train editgrpo-mimic-cxr",
)


@run_options
@shared_options("estimating", EstimateOptions)
def train(
    recipe: Recipe,
    *,
    asked: RunRequest,
    _: Annotated[bool, settings_option(TrainConfig)] = False,
    estimating: EstimateOptions,
) -> None:
    """Train with EditGRPO: optimise clinical rewards; half of each group is edited rollouts."""
    config = asked.configuration(recipe, TrainConfig)
    if estimating.estimate:
        print_estimate(config, estimating)
        return
    asked.claim(config)

    from editgrpo.display.terminal import StepLine
    from editgrpo.training.train import run_training

    hide_loading_bars()
    steps = StepLine(config.steps)
    model = run_training(config, resume=asked.resume, command=command_line(), on_step=steps.show)
    if is_first_process():
        typer.echo(f"The trained model is in {model}")
        asked.give_away(config)
