"""`editgrpo export`: a model folder to serve."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, examples
from editgrpo.cli.output import hide_loading_bars, is_free
from editgrpo.cli.sharing import CardRequest, card_options, make_card
from editgrpo.config import DType
from editgrpo.errors import ConfigError
from editgrpo.extras import Extra, require_extras
from editgrpo.ownership import own

EXAMPLES = examples(
    "editgrpo export runs/editgrpo exports/cxr --results runs/editgrpo/evaluation/test",
    "editgrpo export runs/sft exports/sft --dtype float32",
)


@card_options
def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, or a model folder in one.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    dtype: Annotated[DType, typer.Option(help="Number format of the weights.")] = DType.BFLOAT16,
    overwrite: Overwrite = False,
    *,
    asked: CardRequest,
) -> None:
    """Write a model to serve: merged weights, processor, prompt, card, and the vLLM command."""
    require_extras(Extra.TRAIN)
    from editgrpo.sharing.serving import SETTINGS_FILE

    own(output)
    if not is_free(output) and not (overwrite and (output / SETTINGS_FILE).is_file()):
        remedy = (
            f"holds no {SETTINGS_FILE}, so it is no export and --overwrite leaves it alone; name "
            if overwrite
            else "not empty; add --overwrite to replace an export, or name "
        )
        raise ConfigError(f"{output}: {remedy}another folder")
    lineage, card = make_card(run, asked)

    from editgrpo.display.terminal import closing_bar
    from editgrpo.sharing.export import export_model
    from editgrpo.sharing.serve_page import wrapped

    hide_loading_bars()
    with closing_bar("Converting weights") as progress:
        command = export_model(lineage, output, card=card, dtype=dtype, progress=progress)
    typer.echo(f"The model is in {output}; serve.md there has a request for it. To serve it:")
    typer.echo(wrapped(command))
