"""`editgrpo evaluate`: metrics of one system with intervals, or of two with a paired test."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.clinical_options import clinical_options
from editgrpo.cli.options import Overwrite, examples
from editgrpo.cli.output import claim_output, spare_inputs
from editgrpo.cli.scoring import (
    ScoringRequest,
    print_outcome,
    score_systems,
    scoring_options,
)
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError
from editgrpo.files import real_path
from editgrpo.ownership import own

EXAMPLES = examples(
    "editgrpo evaluate runs/editgrpo/evaluation/test/predictions.jsonl --metrics rules,paper",
    "editgrpo evaluate editgrpo.jsonl --system EditGRPO --compare dr-grpo.jsonl "
    "--compare-system Dr.GRPO --output comparison",
)


@clinical_options(judge=True)
@scoring_options
def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Argument(
            metavar="PREDICTIONS...",
            help="Predictions of one system, JSON lines or CSV as for `score`; one file per seed.",
        ),
    ],
    clinical: ClinicalConfig,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder to write. Default: the folder of the first file."),
    ] = None,
    other: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            help="Predictions of another system on the same studies. Repeatable: one per seed.",
        ),
    ] = None,
    *,
    asked: ScoringRequest,
    overwrite: Overwrite = False,
) -> None:
    """Evaluate one or several seeds of a system for `editgrpo report`; compare two systems."""
    if len(predictions) > 1 and output is None:
        raise ConfigError("several predictions files are pooled; name a folder with --output")
    options = asked.options(clinical)

    from editgrpo.evaluation.files import SystemFiles
    from editgrpo.evaluation.outputs import PARTIALS, summary_record, write_outcome

    folder = output or predictions[0].parent
    partials = folder / PARTIALS  # where there is one, an interrupted command is continued
    own(folder)
    overwrite = overwrite or partials.exists()
    claim_output(folder / "scores.json", overwrite=overwrite)
    copy = folder / "predictions.jsonl"  # a single file is copied there
    if len(predictions) == 1 and real_path(predictions[0]) != real_path(copy):
        spare_inputs([copy], other or [])
        claim_output(copy, overwrite=overwrite)

    systems = [SystemFiles(paths=tuple(predictions), name=asked.system)]
    if other:
        systems.append(SystemFiles(paths=tuple(other), name=asked.other_system))
    outcome = score_systems(systems, options=options, clinical=clinical, partials=partials)
    write_outcome(folder, outcome)
    print_outcome(summary_record(outcome), as_json=asked.as_json)
    if not asked.as_json:
        typer.echo(f"Written to {folder}")
