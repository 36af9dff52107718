"""`editgrpo prepare folder`: a table of your own into studies."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Seed, examples, given
from editgrpo.cli.studies import (
    DateFormat,
    FollowLinks,
    PrepareFlags,
    Separator,
    SplitShares,
    ViewNames,
    prepare_options,
    run_preparation,
    split_rule_of,
)
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo prepare folder reports.csv --images radiographs --output studies/mine "
    "--column study_id=StudyID --column patient_id=PatientID --column image=file "
    "--column view=projection --column findings=text",
)


@prepare_options
def prepare_folder(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="CSV with a header, or JSON lines; one row per image or study."
        ),
    ],
    column: Annotated[
        list[str],
        typer.Option(
            metavar="FIELD=COLUMN",
            help="Maps a field to a column. Fields: study_id, image (both required), patient_id, "
            "view, split, time, indication, technique, comparison, findings, impression. "
            "Repeatable. FIELD=one,two joins columns; FIELD==value is a constant.",
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that image paths start from. Default: the table's folder."),
    ] = None,
    follow_links: FollowLinks = False,
    separator: Separator = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Separates CSV cells. Default: found in the header.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of the CSV file. Default: utf-8.")
    ] = None,
    date_format: DateFormat = None,
    view: ViewNames = None,
    seed: Seed = 0,
    split_shares: SplitShares = None,
    *,
    flags: PrepareFlags,
) -> None:
    """Prepare your own table and images; without a split column, patients are drawn."""
    require_extras(Extra.DATA)

    from editgrpo.data.folder import TableSource, parse_column_map
    from editgrpo.data.views import parse_view_names

    columns = parse_column_map(column)
    split_rule = split_rule_of(split_shares, seed, given="split" in columns)
    source = TableSource(
        table=table,
        columns=columns,
        images=images,
        follow_links=follow_links,
        view_names=parse_view_names(view or ()),
        date_format=date_format,
        **given(separator=separator, delimiter=delimiter, encoding=encoding),
    )
    run_preparation(source, flags, split_rule=split_rule)
