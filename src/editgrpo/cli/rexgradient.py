"""`editgrpo prepare rexgradient`: ReXGradient-160K into studies."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import examples
from editgrpo.cli.studies import PrepareFlags, Root, prepare_options, run_preparation
from editgrpo.data.study import Split
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo prepare rexgradient --root ReXGradient-160K --out studies/rexgradient",
    "editgrpo prepare rexgradient --root ReXGradient-160K --longitudinal "
    "--out studies/rexgradient-longitudinal",
)


@prepare_options
def prepare_rexgradient(
    root: Root,
    images: Annotated[
        Path | None,
        typer.Option(help="deid_png, or the folder that contains it. Default: found in the root."),
    ] = None,
    longitudinal: Annotated[
        bool,
        typer.Option(
            "--longitudinal",
            help="Show the images of the patient's most recent earlier study; the paper does not.",
        ),
    ] = False,
    split: Annotated[
        list[Split] | None,
        typer.Option(help="Prepare only this official split. Repeatable. Default: all."),
    ] = None,
    *,
    flags: PrepareFlags,
) -> None:
    """Prepare ReXGradient-160K; studies with more than six images are left out."""
    require_extras(Extra.DATA)

    from editgrpo.data.rexgradient import ReXGradientSource

    source = ReXGradientSource(
        root=root,
        images=images,
        longitudinal=longitudinal,
        splits=tuple(each for each in Split if not split or each in split),
    )
    run_preparation(source, flags)
