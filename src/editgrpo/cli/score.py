"""`editgrpo score`: metrics of each report and of the test set, for any file of predictions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from editgrpo.cli.clinical_options import clinical_options
from editgrpo.cli.options import Overwrite, examples, listing_option
from editgrpo.cli.output import claim_output, spare_inputs
from editgrpo.cli.scoring import (
    ScoringRequest,
    print_outcome,
    score_systems,
    scoring_options,
)
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError
from editgrpo.ownership import own

if TYPE_CHECKING:
    from editgrpo.evaluation.files import SystemFiles

EXAMPLES = examples(
    "editgrpo score predictions.csv",
    "editgrpo score predictions.csv --output scores.csv",
    "editgrpo score editgrpo.jsonl --metrics paper,text --models /weights --output scores.jsonl "
    "--compare sft.jsonl --compare-system SFT",
    "editgrpo score --list",
)


def list_metrics() -> None:
    """Print every metric and every set."""
    from editgrpo.evaluation.catalogue import METRIC_SETS, METRICS
    from editgrpo.metrics.metric import Direction

    arrows = {Direction.HIGHER: "↑", Direction.LOWER: "↓", Direction.NEITHER: " "}
    width = max(map(len, METRICS))
    for metric in METRICS.values():
        needs = [*metric.models, *(["class rates"] if metric.needs_class_rates else [])]
        if metric.judge is not None and not metric.models:
            needs.append("a server")
        suffix = f" (needs {', '.join(needs)})" if needs else ""
        typer.echo(
            f"{arrows[metric.direction]} {metric.name:{width}}  {metric.level.value:6}  "
            f"{metric.description}{suffix}"
        )
    typer.echo("\nSets:")
    for name, metrics in METRIC_SETS.items():
        typer.echo(f"  {name:{width}}  {_listed([metric.name for metric in metrics])}")
    typer.echo("\n↑ more is better, ↓ less is better; report: every report has a value")


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:4])}{f', and {len(names) - 4} more' if names[4:] else ''}"


@clinical_options(judge=True)
@scoring_options
def score(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS",
            help="JSON lines, or CSV if it ends in .csv, with study_id, prediction and reference.",
        ),
    ],
    clinical: ClinicalConfig,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Scores of each report: CSV if it ends in .csv, else JSON lines. A summary is "
            "written next to it. Without it nothing is written, and tables are shown."
        ),
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option("--compare", help="Predictions of another system on the same studies."),
    ] = None,
    *,
    asked: ScoringRequest,
    overwrite: Overwrite = False,
    _: Annotated[
        bool, listing_option("--list", list_metrics, "List metrics and sets of metrics, and stop.")
    ] = False,
) -> None:
    """Score every report with any metrics; with --output, an interrupted command continues."""
    options = asked.options(clinical)

    from editgrpo.evaluation.outputs import (
        partials_beside,
        summary_path,
        summary_record,
        write_scores,
    )

    if output is None and overwrite:
        raise ConfigError("--overwrite has an effect with --output only")
    partials = None
    if output is not None:
        outputs = (output, summary_path(output))
        spare_inputs(
            outputs, [path for path in (predictions, other, asked.class_rates) if path is not None]
        )
        for path in outputs:
            own(path)  # before it is seen whether an earlier command was interrupted
        # Where there are some, an interrupted command is continued.
        partials = partials_beside(output)
        for path in outputs:
            claim_output(path, overwrite=overwrite or partials.exists())
    systems = _named_systems((predictions, asked.system), (other, asked.other_system))
    outcome = score_systems(systems, options=options, clinical=clinical, partials=partials)
    summary = None if output is None else write_scores(output, outcome)
    print_outcome(summary_record(outcome), as_json=asked.as_json)
    if summary is not None and not asked.as_json:
        typer.echo(f"The scores of each report are in {output}, the summary is in {summary}")


def _named_systems(*given: tuple[Path | None, str | None]) -> "list[SystemFiles]":
    """Name each system that there is: as it was asked for, or by its file."""
    from editgrpo.evaluation.files import SystemFiles, system_names

    systems = [SystemFiles(paths=(path,), name=name) for path, name in given if path is not None]
    names = system_names(systems, by_file=True)
    return [replace(system, name=name) for system, name in zip(systems, names, strict=True)]
