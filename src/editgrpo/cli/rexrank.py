"""`editgrpo rexrank`: the prediction file of a track of ReXrank."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, examples
from editgrpo.cli.output import claim_output
from editgrpo.evaluation.rexrank_texts import RexrankTrack

EXAMPLES = examples(
    "editgrpo rexrank predictions.jsonl ReXRank_IUXray_test.json --output rexrank/iu-xray",
)


def rexrank(
    predictions: Annotated[
        Path, typer.Argument(help="Predictions, JSON lines or CSV as for `score`.")
    ],
    cases: Annotated[Path, typer.Argument(help="ReXrank's file of cases (.json).")],
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

    for name in (SUBMISSION_FILE, SCORED_FILE):
        claim_output(output / name, overwrite=overwrite)
    found = read_cases(cases)
    summary = write_rexrank(output, read_predictions(predictions), found, track)
    typer.echo(f"Cases: {summary.cases:,}; predictions of other studies: {summary.unused:,}")
    if summary.unscored:
        typer.echo(f"Cases without a reference on this track: {summary.unscored:,}")
    typer.echo(f"The submission is in {output / SUBMISSION_FILE}")
    typer.echo(f"To score it: editgrpo evaluate {output / SCORED_FILE} --metrics rexrank")
