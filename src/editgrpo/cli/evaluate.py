"""`editgrpo evaluate`: metrics of one system with intervals, or of two with a paired test."""

import json
from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, Seed, examples, given
from editgrpo.cli.output import claim_output
from editgrpo.errors import ConfigError

EXAMPLES = examples(
    "editgrpo evaluate runs/editgrpo/evaluation/test/predictions.jsonl",
    "editgrpo evaluate editgrpo.jsonl --system EditGRPO --compare dr-grpo.jsonl "
    "--compare-system Dr.GRPO --output comparison",
)


def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Argument(
            metavar="PREDICTIONS...", help="predictions.jsonl of one system; one file a seed."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="Folder to write to; without it, the folder of the first file."),
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="Name in tables; without it, the folder's name.")
    ] = None,
    other: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            help="Predictions of another system on the same studies. Repeatable: seeds.",
        ),
    ] = None,
    other_system: Annotated[
        str | None, typer.Option("--compare-system", help="Name of the other system.")
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="Whose labels and entities are compared.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Bootstrap resamples, and permutations of the paired test.")
    ] = None,
    confidence: Annotated[float | None, typer.Option(help="Coverage of the intervals.")] = None,
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print scores.json, no tables.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Compute every metric with its bootstrap interval over studies; compare two systems."""
    if len(predictions) > 1 and output is None:
        raise ConfigError("several predictions files are pooled; name a folder with --output")
    folder = output or predictions[0].parent
    claim_output(folder / "scores.json", overwrite=overwrite)
    copy = folder / "predictions.jsonl"  # a single file is copied there
    if len(predictions) == 1 and predictions[0].resolve() != copy.resolve():
        claim_output(copy, overwrite=overwrite)

    from rich.console import Console

    from editgrpo.display.tables import ResultsTable, comparison_table, findings_table
    from editgrpo.display.terminal import progress_bar
    from editgrpo.evaluation.compare import compare
    from editgrpo.evaluation.files import evaluate_file, write_comparison
    from editgrpo.evaluation.tables import comparison_record, scores_record
    from editgrpo.evaluation.types import EvaluationOptions

    options = EvaluationOptions(
        seed=seed, **given(reward=reward, samples=samples, confidence=confidence)
    )
    with progress_bar("Scoring") as progress:
        results = [
            evaluate_file(
                predictions, output=folder, system=system, options=options, progress=progress
            )
        ]
    if other:
        with progress_bar("Scoring the other system") as progress:
            results.append(
                evaluate_file(other, system=other_system, options=options, progress=progress)
            )
    records = [scores_record(result) for result in results]
    shown = [ResultsTable(records), findings_table(records)]
    comparisons = []
    if other:
        comparison = compare(*results)
        write_comparison(folder, comparison)
        comparisons = [comparison_record(comparison)]
        shown.append(comparison_table(comparisons[0]))
    if as_json:
        values = [*records, *comparisons]
        typer.echo(json.dumps(values if other else values[0], ensure_ascii=False, indent=2))
        return
    Console().print(*shown)
    typer.echo(f"Written to {folder}")
