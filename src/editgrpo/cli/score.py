"""`editgrpo score`: the reward of each report."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, examples
from editgrpo.cli.output import claim_output
from editgrpo.config import RewardConfig
from editgrpo.errors import ConfigError

EXAMPLES = examples(
    "editgrpo score runs/editgrpo/evaluation/test/predictions.jsonl --output scores.jsonl"
)


def score(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="JSON lines with study_id, prediction and reference."
        ),
    ],
    output: Annotated[Path, typer.Option(help="JSON lines to write, one study a line.")],
    reward: Annotated[str, typer.Option(help="Name of the reward.")] = RewardConfig().name,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMPONENT=NUMBER", help="Weight of a component in the total. Repeatable."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Score every report with a reward; an interrupted command continues where it was."""
    weights = dict(_read_weight(item) for item in weight or [])
    claim_output(output, overwrite=overwrite)

    from editgrpo.display.terminal import progress_bar
    from editgrpo.evaluation.score import score_file

    with progress_bar("Scoring") as progress:
        rows = score_file(
            predictions, output=output, reward=reward, weights=weights, progress=progress
        )
    for name in [name for name in rows[0] if name != "study_id"]:
        mean = sum(row[name] for row in rows) / len(rows)
        typer.echo(f"{mean:7.4f}  {name}")
    typer.echo(f"Means of {len(rows)} studies; the scores of each are in {output}")


def _read_weight(item: str) -> tuple[str, float]:
    name, _, number = item.rpartition("=")
    try:
        return name, float(number)
    except ValueError:
        raise ConfigError(f"--weight {item}: write it as component=number") from None
