"""What `score` and `evaluate` have in common: their options, and how results are shown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from editgrpo.cli.options import Seed, given, shared_options
from editgrpo.cli.requirements import runs_models
from editgrpo.config import Section
from editgrpo.extras import Extra, require_extras

if TYPE_CHECKING:
    from editgrpo.config import ClinicalConfig
    from editgrpo.evaluation.files import SystemFiles
    from editgrpo.evaluation.outputs import Outcome
    from editgrpo.evaluation.types import EvaluationOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringRequest:
    """What a user says of scoring, besides the predictions."""

    metrics: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME...]",
            help="Metrics, or sets such as paper; `editgrpo score --list` lists both.",
        ),
    ] = "rules"
    class_rates: Annotated[
        Path | None,
        typer.Option(help="Class rates of a training set, for the metrics that need them."),
    ] = None
    section: Annotated[
        Section | None,
        typer.Option(
            help="Section of predictions of findings+impression to score. Default: both, as one "
            "text.",
        ),
    ] = None
    system: Annotated[
        str | None,
        typer.Option(help="Name in tables. Default: the name of the run, the file or its folder."),
    ] = None
    other_system: Annotated[
        str | None, typer.Option("--compare-system", help="Name of the other system.")
    ] = None
    samples: Annotated[
        int | None,
        typer.Option(
            help="Bootstrap resamples, and permutations of the paired test. Default: 1000."
        ),
    ] = None
    confidence: Annotated[
        float | None, typer.Option(help="Coverage of the intervals. Default: 0.95.")
    ] = None
    seed: Seed = 0
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False

    def options(self, clinical: "ClinicalConfig") -> "EvaluationOptions":
        """Put the options together; those that were not given keep the library's default.

        Args:
            clinical: Where clinical models run.

        Returns:
            The options.

        Raises:
            ConfigError: a metric is unknown, or a number is out of range.
            MissingExtraError: a metric runs a clinical model, and what runs it is not installed.
        """
        from editgrpo.evaluation.types import EvaluationOptions

        names = tuple(name.strip() for name in self.metrics.split(",") if name.strip())
        if runs_models(names, clinical):
            require_extras(Extra.CLINICAL)
        return EvaluationOptions(
            metrics=names,
            class_rates=self.class_rates,
            seed=self.seed,
            section=self.section,
            **given(samples=self.samples, confidence=self.confidence),
        )


scoring_options = shared_options("asked", ScoringRequest)
"""Decorates a command that takes the keyword argument `asked`, a `ScoringRequest`."""


def score_systems(
    systems: Sequence["SystemFiles"],
    *,
    options: "EvaluationOptions",
    clinical: "ClinicalConfig",
    partials: Path | None,
) -> "Outcome":
    """Evaluate systems under a progress bar."""
    from editgrpo.cli.output import hide_loading_bars
    from editgrpo.display.terminal import progress_bar
    from editgrpo.evaluation.files import evaluate_systems
    from editgrpo.metrics.judges.costs import log_costs

    if runs_models(options.metrics, clinical):
        hide_loading_bars()
    with progress_bar("Scoring") as progress:
        outcome = evaluate_systems(
            systems, options=options, clinical=clinical, partials=partials, progress=progress
        )
    log_costs("judges")
    return outcome


def print_outcome(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print systems and their comparison, as JSON or as tables.

    Args:
        record: What `summary_record` returns.
        as_json: Whether JSON is asked for.
    """
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False, indent=2))
        return
    from rich.console import Console

    from editgrpo.display.comparison import ComparisonTable
    from editgrpo.display.tables import ResultsTable, findings_table

    systems, comparison = record["systems"], record["comparison"]
    shown: list[Any] = [ResultsTable(systems)]
    if systems[0]["per_finding"]:
        shown.append(
            findings_table(systems, title=f"F1 by finding, labels by {systems[0]['labeler']}")
        )
    if comparison is not None:
        shown.append(ComparisonTable(comparison))
    Console().print(*shown)
