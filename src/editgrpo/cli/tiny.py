"""`editgrpo models tiny`: a small model with random weights, for a smoke run."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, Seed, examples
from editgrpo.cli.output import claim_output, hide_loading_bars
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo models tiny tiny-model",
    "editgrpo models tiny tiny-gemma --family gemma3",
)


def tiny(
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Model folder to write.", show_default=False)
    ],
    family: Annotated[
        str, typer.Option(help="Model family: qwen2_5_vl, qwen2_vl, qwen3_vl or gemma3.")
    ] = "qwen2_5_vl",
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write a small model with random weights and the files of a published one.

    A run with it shows on a laptop that your studies, settings and scorers work; its reports are
    noise and earn next to nothing.
    """
    require_extras(Extra.TRAIN)
    claim_output(output, overwrite=overwrite)

    from editgrpo.training.tiny_models import multiple_of, write_tiny_model

    hide_loading_bars()
    write_tiny_model(output, family, seed=seed)
    typer.echo(f"The model is in {output}; it takes studies of --multiple-of {multiple_of(family)}")
