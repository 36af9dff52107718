"""`editgrpo prepare folder`: a table of your own into studies."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, Seed, examples, given
from editgrpo.cli.output import claim_output
from editgrpo.cli.studies import (
    KeepWithoutFindings,
    RequireImpression,
    StudiesOutput,
    WithoutImages,
    inclusion_rule,
    run_preparation,
)

EXAMPLES = examples(
    "editgrpo prepare folder reports.csv --images radiographs --output studies/mine "
    "--column study_id=StudyID --column patient_id=PatientID --column image=file "
    "--column view=projection --column findings=text",
)


def prepare_folder(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="CSV with a header, or JSON lines; a row an image or a study."
        ),
    ],
    output: StudiesOutput,
    column: Annotated[
        list[str],
        typer.Option(
            metavar="FIELD=COLUMN",
            help="Which column holds a field: study_id, image (both needed), patient_id, view, "
            "split, time, indication, technique, comparison, findings, impression. Repeatable. "
            "FIELD=one,two joins columns; FIELD==value is a constant.",
        ),
    ],
    images: Annotated[
        Path | None, typer.Option(help="Where image paths start; without it, the table's folder.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Stands between several image paths in one cell.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Between CSV cells; without it, found in the header.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of the CSV file; utf-8 if not given.")
    ] = None,
    without_images: WithoutImages = False,
    keep_without_findings: KeepWithoutFindings = False,
    require_impression: RequireImpression = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Turn your own table and images into studies; a missing split is drawn by patient."""
    claim_output(output, overwrite=overwrite)

    from editgrpo.data.columns import parse_column_map
    from editgrpo.data.folder import TableSource
    from editgrpo.data.folder import prepare_folder as prepare

    source = TableSource(
        table=table,
        columns=parse_column_map(column),
        images=images,
        **given(separator=separator, delimiter=delimiter, encoding=encoding),
    )
    inclusion = inclusion_rule(
        without_images=without_images,
        keep_without_findings=keep_without_findings,
        require_impression=require_impression,
    )
    run_preparation(prepare, source, output, inclusion=inclusion, seed=seed)
