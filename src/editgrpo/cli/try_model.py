"""`editgrpo try`: a page on which one model, or two, are tried."""

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.clinical_options import clinical_options
from editgrpo.cli.options import MaxCompletionTokens, SetData, examples, given
from editgrpo.config import ClinicalConfig
from editgrpo.extras import Extra, require_extras
from editgrpo.recipes import text_override

EXAMPLES = examples(
    "editgrpo try demo/editgrpo/model",
    "editgrpo try demo/editgrpo/model --beside demo/sft/model",
    "editgrpo try runs/editgrpo/model --data studies/site-b --port 8000",
)


@clinical_options()
def try_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model folder, or a Hub id. For the model of a run, data settings are taken "
            "from the run's config.yaml, for an export from its editgrpo.json.",
        ),
    ],
    clinical: ClinicalConfig,
    beside: Annotated[
        str | None, typer.Option(metavar="OTHER", help="A second model, which writes beside it.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Prepared folder to pick studies from. Default: that of the run."),
    ] = None,
    changes: SetData = None,
    max_completion_tokens: MaxCompletionTokens = None,
    min_pixels: Annotated[
        int | None,
        typer.Option(help="Fewest pixels of a resized film. Default: of the set, or the model."),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(help="Most pixels of a resized film. Default: of the set, or the model."),
    ] = None,
    multiple_of: Annotated[
        int | None,
        typer.Option(help="Film sides are multiples of this. Default: of the set, or the model."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port. Default: the first free one from 7860 on."),
    ] = None,
) -> None:
    """Open a page, for this machine alone, that writes and scores reports of films dropped there.

    Nothing is sent elsewhere, and nothing is kept. End it with Ctrl-C.
    """
    require_extras(Extra.PAGE)

    from editgrpo.cli.output import hide_loading_bars
    from editgrpo.data.pixels.resize import PixelBudget
    from editgrpo.page import open_page, tried_model

    overrides = [*(changes or []), *_data_override(data)]
    models = [
        tried_model(one, overrides=overrides, max_completion_tokens=max_completion_tokens)
        for one in (model, beside)
        if one is not None
    ]
    sizes = given(min_pixels=min_pixels, max_pixels=max_pixels, multiple_of=multiple_of)
    budget = replace(PixelBudget(), **sizes) if sizes else None
    hide_loading_bars()
    with open_page(models, budget=budget, clinical=clinical, port=port) as page:
        typer.echo(f"The page is at {page.address} until Ctrl-C; it is not for clinical use")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    typer.echo(
        f"Reports written: {page.counts.reports}; scored: {page.counts.scored}. Nothing was kept"
    )


def _data_override(folder: Path | None) -> list[str]:
    if folder is None:
        return []
    from editgrpo.data.prepared.store import read_prepared

    read_prepared(folder)  # says at once that it is none
    return [text_override("data.folder", str(folder))]
