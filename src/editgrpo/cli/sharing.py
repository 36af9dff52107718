"""What `card` and `export` have in common: what they are told of a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from editgrpo.cli.options import shared_options

if TYPE_CHECKING:
    from editgrpo.sharing.lineage import Lineage


@dataclass(frozen=True, kw_only=True, slots=True)
class CardRequest:
    """What a user says of a model, besides the run."""

    results: Annotated[
        list[Path] | None,
        typer.Option(
            help="scores.json of `editgrpo evaluate`, or its folder. Repeatable, one a test set."
        ),
    ] = None
    title: Annotated[str | None, typer.Option(help="Heading. Default: the name of the run.")] = None
    licence: Annotated[
        str | None,
        typer.Option("--license", help="Licence of the weights, as the Hub names it."),
    ] = None
    base_model: Annotated[
        str | None, typer.Option(help="Hub id of the base model, if a run began with a folder.")
    ] = None
    studies: Annotated[
        list[Path] | None,
        typer.Option(
            help="Where prepared sets of training lie now, if they were moved. Repeatable."
        ),
    ] = None


card_options = shared_options("asked", CardRequest)
"""Decorates a command that takes the keyword argument `asked`, a `CardRequest`."""


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

    results = tuple(read_results(asked.results or ()))
    lineage = read_lineage(run, asked.studies or (), base_model=asked.base_model)
    options = CardOptions(title=asked.title, licence=asked.licence, results=results)
    return lineage, model_card(lineage, options)


def check_may_push(studies: Path, *, may_share: bool) -> None:
    """Refuse, before a run begins, what the Hub or the terms of its data would refuse at its end.

    Args:
        studies: The prepared folder that is trained on. Data of earlier runs are looked at when the
            model is there.
        may_share: Whether the user has said that the terms allow it.

    Raises:
        ConfigError: the terms ask for a word of the user, or nobody is logged in to the Hub.
    """
    from editgrpo.data.prepared.licences import card_of
    from editgrpo.data.prepared.store import read_prepared
    from editgrpo.sharing.push import require_leave, require_login

    require_login()
    require_leave([card_of(read_prepared(studies)["dataset"])], may_share=may_share)


def push_run(run: Path, repository: str, *, may_share: bool) -> None:
    """Write the card of a run's model, unless it has one, and upload the model.

    Args:
        run: The run folder.
        repository: Hub id; made if there is none, private.
        may_share: See `check_may_push`.

    Raises:
        ConfigError: see `editgrpo.sharing.push.push`.
        ModelError: the Hub cannot be reached or refuses; the model stays where it is.
    """
    from editgrpo.files import write_text
    from editgrpo.sharing.allowed import CARD
    from editgrpo.sharing.lineage import find_model
    from editgrpo.sharing.model_card import TRAINING_DATA, read_header
    from editgrpo.sharing.push import pack, push

    model = find_model(run)
    if TRAINING_DATA not in read_header(model / CARD):
        write_text(model / CARD, make_card(run, CardRequest())[1], shared=True)
    address = push(pack(model), repository, may_share=may_share)
    typer.echo(f"Private: {address}")
