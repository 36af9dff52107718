"""`editgrpo sft`: supervised fine-tuning."""

from typing import Annotated

import typer

from editgrpo.cli.options import Recipe, examples, settings_option
from editgrpo.cli.output import hide_loading_bars
from editgrpo.cli.runs import RunRequest, run_options
from editgrpo.config import SFTConfig
from editgrpo.ownership import is_first_process
from editgrpo.provenance import command_line

EXAMPLES = examples(
    "editgrpo sft sft-mimic-cxr --set data.folder=studies/mine --output runs/sft",
)


@run_options
def sft(
    recipe: Recipe,
    *,
    asked: RunRequest,
    _: Annotated[bool, settings_option(SFTConfig)] = False,
) -> None:
    """Fine-tune a vision-language model on the findings of reference reports."""
    config = asked.configuration(recipe, SFTConfig)
    asked.claim(config)

    from editgrpo.display.fine_tuning import FineTuningLine
    from editgrpo.display.terminal import closing_bar
    from editgrpo.training.epochs import model_for_rl
    from editgrpo.training.sft import run_sft

    hide_loading_bars()
    line = FineTuningLine()
    with closing_bar("Generating validation reports") as on_validation:
        model = run_sft(
            config,
            resume=asked.resume,
            command=command_line(),
            on_steps=line.begin,
            on_metrics=line.show,
            on_validation=on_validation if is_first_process() else None,
        )
    if is_first_process():
        typer.echo(f"The model of the best epoch is in {model}")
        typer.echo(f"That of the epoch before, for `editgrpo train`, is in {model_for_rl(model)}")
        asked.give_away(config)
