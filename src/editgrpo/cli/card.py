"""`editgrpo card`: a model card from a run's records."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, examples
from editgrpo.cli.output import claim_output
from editgrpo.cli.sharing import CardRequest, card_options, make_card
from editgrpo.errors import ConfigError
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo card runs/editgrpo --results runs/editgrpo/evaluation/test",
    "editgrpo card runs/sft --license apache-2.0 --title cxr-sft --output README.md",
)


@card_options
def card(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, or a model folder in one.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="File. Default: README.md in the model folder.")
    ] = None,
    overwrite: Overwrite = False,
    *,
    asked: CardRequest,
) -> None:
    """Write the card of a trained model: base, data and their terms, training, results, limits."""
    require_extras(Extra.TRAIN)
    if output is not None:
        claim_output(output, overwrite=overwrite)
    lineage, text = make_card(run, asked)

    from editgrpo.files import write_text
    from editgrpo.sharing.allowed import CARD
    from editgrpo.sharing.model_card import TRAINING_DATA, read_header

    place = output or lineage.model / CARD
    is_ours = output is None and TRAINING_DATA in read_header(place)
    if is_ours and not overwrite and place.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{place}: is a card already, with other words; add --overwrite to write it anew, or "
            "name another file with --output"
        )
    write_text(place, text, shared=True)
    if not asked.results:
        typer.echo("It has no results; --results adds those of `editgrpo evaluate`")
    typer.echo(f"The card is in {place}")
