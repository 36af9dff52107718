"""What `card` and `export` have in common: what they are told of a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from editgrpo.sharing.lineage import Lineage


@dataclass(frozen=True, kw_only=True, slots=True)
class CardRequest:
    """What a user says of a model, besides the run."""

    results: tuple[Path, ...]
    title: str | None
    licence: str | None
    base_model: str | None
    studies: tuple[Path, ...]


def card_request(
    *,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            help="scores.json of `editgrpo evaluate`, or its folder. Repeatable, one a test set."
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Heading. Default: the name of the run.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--license", help="Licence of the weights, as the Hub names it."),
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Hub id of the base model, if a run began with a folder.")
    ] = None,
    studies: Annotated[
        list[Path] | None,
        typer.Option(
            help="Where prepared sets of training lie now, if they were moved. Repeatable."
        ),
    ] = None,
) -> CardRequest:
    """Put the options together."""
    return CardRequest(
        results=tuple(results or ()),
        title=title,
        licence=licence,
        base_model=base_model,
        studies=tuple(studies or ()),
    )


def make_card(run: Path, asked: CardRequest) -> tuple["Lineage", str]:
    """Read where a model comes from, and write its card.

    Args:
        run: A run folder, or a model folder in one.
        asked: What the user says.

    Returns:
        Where it comes from, and the card.
    """
    from editgrpo.sharing.lineage import read_lineage
    from editgrpo.sharing.model_card import CardOptions, model_card
    from editgrpo.sharing.results import read_results

    results = tuple(read_results(asked.results))
    lineage = read_lineage(run, asked.studies, base_model=asked.base_model)
    options = CardOptions(title=asked.title, licence=asked.licence, results=results)
    return lineage, model_card(lineage, options)
