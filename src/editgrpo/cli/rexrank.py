"""`editgrpo rexrank`: cases of ReXrank as studies, and the prediction file of a track."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, examples
from editgrpo.cli.output import claim_output, spare_inputs
from editgrpo.evaluation.rexrank_texts import RexrankTrack

TABLE_EXAMPLES = examples(
    "editgrpo rexrank table ReXRank_IUXray_test.json --output cases.jsonl",
)
SUBMIT_EXAMPLES = examples(
    "editgrpo rexrank submit predictions.jsonl ReXRank_IUXray_test.json --output rexrank/iu-xray",
)

_Cases = Annotated[Path, typer.Argument(metavar="CASES", help="ReXrank's file of cases (.json).")]


def table(
    cases: _Cases,
    output: Annotated[Path, typer.Option(help="Table to write (.jsonl).")],
    overwrite: Overwrite = False,
) -> None:
    """Write ReXrank's cases as a table for `editgrpo prepare folder`."""
    spare_inputs([output], [cases])
    claim_output(output, overwrite=overwrite)

    from editgrpo.evaluation.rexrank import TABLE_COLUMNS, read_cases, write_table

    typer.echo(f"Cases: {write_table(output, read_cases(cases)):,}, in {output}. To prepare them:")
    typer.echo(
        f"editgrpo prepare folder {shlex.quote(str(output))} --images FOLDER --out FOLDER "
        "--keep-without-findings " + " ".join(f"--column {one}" for one in TABLE_COLUMNS)
    )


def submit(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="Predictions, JSON lines or CSV as for `score`."
        ),
    ],
    cases: _Cases,
    output: Annotated[Path, typer.Option(help="Folder for submission.json and predictions.jsonl.")],
    track: Annotated[
        RexrankTrack, typer.Option(help="What is scored: findings, or whole reports.")
    ] = RexrankTrack.FINDINGS,
    overwrite: Overwrite = False,
) -> None:
    """Write a submission to ReXrank, and what scores it as ReXrank does."""
    from editgrpo.evaluation.predictions import read_predictions
    from editgrpo.evaluation.rexrank import (
        SCORED_FILE,
        SUBMISSION_FILE,
        read_cases,
        write_rexrank,
    )

    outputs = [output / SUBMISSION_FILE, output / SCORED_FILE]
    spare_inputs(outputs, [predictions, cases])
    for one in outputs:
        claim_output(one, overwrite=overwrite)
    reports = read_predictions(predictions, need_references=False)
    summary = write_rexrank(output, reports, read_cases(cases), track)
    typer.echo(f"Cases: {summary.cases:,}; predictions of other studies: {summary.unused:,}")
    if summary.unscored:
        typer.echo(f"Cases without a reference on this track: {summary.unscored:,}")
    typer.echo(f"The submission is in {output / SUBMISSION_FILE}")
    typer.echo(f"To score it: editgrpo evaluate {output / SCORED_FILE} --metrics rexrank")
