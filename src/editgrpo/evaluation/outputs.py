"""What is written of an evaluation.

A folder of results is what `editgrpo report` shows (`scores.json` and what stands beside it); a
single file of scores is for whoever reads them elsewhere. Both come from the same evaluation.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editgrpo.evaluation.evaluate import Evaluation
from editgrpo.evaluation.predictions import copy_predictions
from editgrpo.evaluation.tables import comparison_record, metric_rows, scores_record, study_rows
from editgrpo.evaluation.types import Comparison
from editgrpo.files import real_path, write_json, write_jsonl
from editgrpo.spreadsheet import write_csv

PREDICTIONS_FILE = "predictions.jsonl"
SCORES_FILE = "scores.json"
TABLE_FILE = "scores.csv"
STUDIES_FILE = "per_study.jsonl"
COMPARISON_FILE = "comparison.json"

SUMMARY_SUFFIX = ".summary.json"
PARTIALS = ".scoring"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of scoring one system, or two on the same studies.

    Attributes:
        evaluations: One for each system.
        comparison: The first minus the second, if there are two.
    """

    evaluations: tuple[Evaluation, ...]
    comparison: Comparison | None


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write a folder of results, each file whole or not at all, `scores.json` after the rest.

    Args:
        folder: Made if missing. Of the first system: `per_study.jsonl`, `scores.csv`, `scores.json`
            and, of one seed, a copy of the predictions; `comparison.json` if there are two, else
            one of earlier scores is removed.
        outcome: What `evaluate_systems` returned; its numbers that wait in `.scoring` are removed.
    """
    evaluation = outcome.evaluations[0]
    _copy_predictions(folder, evaluation)
    record = scores_record(evaluation)
    write_jsonl(folder / STUDIES_FILE, study_rows(evaluation))
    table = metric_rows(record)
    write_csv(folder / TABLE_FILE, list(table[0]), table)
    if outcome.comparison is None:
        (folder / COMPARISON_FILE).unlink(missing_ok=True)
    else:
        write_comparison(folder, outcome.comparison)
    write_json(folder / SCORES_FILE, record)
    shutil.rmtree(folder / PARTIALS, ignore_errors=True)


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write `comparison.json`, whole or not at all; the folder is made if missing."""
    write_json(folder / COMPARISON_FILE, comparison_record(comparison))


def write_scores(output: Path, outcome: Outcome) -> Path:
    """Write the scores of each report of the first system, and a summary.

    Args:
        output: CSV if it ends in `.csv`, else JSON lines; one study a row, sorted by study id.
        outcome: What `evaluate_systems` returned; its numbers that wait in `partials_beside` are
            removed.

    Returns:
        Where the summary is: the objects of `scores.json`, one for each system, and of
        `comparison.json`.
    """
    rows = study_rows(outcome.evaluations[0])
    if output.suffix.lower() == ".csv":
        write_csv(output, list(rows[0]), rows)
    else:
        write_jsonl(output, rows)
    summary = summary_path(output)
    write_json(summary, summary_record(outcome))
    shutil.rmtree(partials_beside(output), ignore_errors=True)
    return summary


def summary_record(outcome: Outcome) -> dict[str, Any]:
    """Return the object of a summary: `systems`, and `comparison` (null for one system)."""
    comparison = outcome.comparison
    return {
        "systems": [scores_record(evaluation) for evaluation in outcome.evaluations],
        "comparison": None if comparison is None else comparison_record(comparison),
    }


def summary_path(output: Path) -> Path:
    """Return where the summary of a file of scores lies."""
    return output.with_name(output.stem + SUMMARY_SUFFIX)


def partials_beside(output: Path) -> Path:
    """Return the hidden folder in which the numbers of a file of scores wait."""
    return output.with_name(f".{output.name}{PARTIALS}")


def _copy_predictions(folder: Path, evaluation: Evaluation) -> None:
    """Put a single file of predictions next to its results, where `editgrpo report` looks."""
    sources = [Path(name) for name in evaluation.predictions]
    copy = folder / PREDICTIONS_FILE
    if len(sources) == 1 and real_path(sources[0]) != real_path(copy):
        copy_predictions(sources[0], copy)
