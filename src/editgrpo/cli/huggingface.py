"""`editgrpo prepare hf`: a data set of the Hugging Face library into studies."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Seed, examples, given
from editgrpo.cli.studies import (
    DateFormat,
    FollowLinks,
    OtherShares,
    PrepareFlags,
    Separator,
    ViewNames,
    prepare_options,
    run_preparation,
    split_rule_of,
)
from editgrpo.errors import ConfigError
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo prepare hf exports/reports --out studies/mine --column study_id=accession "
    "--column patient_id=mrn --column image=films --column findings=report_text",
    "editgrpo prepare hf our-group/chest-films --split validate=validation --out studies/hub",
)


Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=COLUMN",
        help="Maps a field to a column; one of the field's own name needs none. Fields: "
        "study_id, patient_id, image, view, split, time, indication, technique, comparison, "
        "findings, impression. Repeatable.",
    ),
]
Splits = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SPLIT",
        help="What a split of another name is: train, validation or test. Repeatable.",
    ),
]


@prepare_options
def prepare_huggingface(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Folder of Parquet or Arrow files, or a name on the Hugging Face Hub.",
        ),
    ],
    column: Columns = None,
    config: Annotated[
        str | None, typer.Option(help="Configuration of the data set. Default: its default.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit on the Hub. Default: the newest.")
    ] = None,
    split: Splits = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder that image paths start from, if columns hold paths. Default: a local data "
            "set's own."
        ),
    ] = None,
    follow_links: FollowLinks = False,
    separator: Separator = None,
    date_format: DateFormat = None,
    view: ViewNames = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of the library's Arrow files. Default: its cache.")
    ] = None,
    seed: Seed = 0,
    split_shares: OtherShares = None,
    *,
    flags: PrepareFlags,
) -> None:
    """Prepare a data set of the Hugging Face library, from the Hub or from a folder.

    Its own splits are used if it has several. Patients are drawn if it has one, or with
    --split-shares. Without a network, a set that was loaded before is read from the cache.
    """
    require_extras(Extra.HUB)

    from editgrpo.data.folder import parse_column_map
    from editgrpo.data.huggingface import HuggingFaceSource
    from editgrpo.data.views import parse_view_names

    columns = parse_column_map(column or [])
    source = HuggingFaceSource(
        name=name,
        columns=columns,
        config=config,
        revision=revision,
        image_folder=images,
        follow_links=follow_links,
        splits=dict(map(_split, split or [])),
        draw_splits=split_shares is not None,
        cache=cache,
        view_names=parse_view_names(view or ()),
        date_format=date_format,
        **given(separator=separator),
    )
    rule = split_rule_of(split_shares, seed, given="split" in columns or bool(split))
    run_preparation(source, flags, split_rule=rule)


def _split(text: str) -> tuple[str, str]:
    name, equals, split = (piece.strip() for piece in text.partition("="))
    if not (name and equals and split):
        raise ConfigError(f"--split {text!r} must look like validate=validation")
    return name, split
