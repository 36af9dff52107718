"""Evaluations of files: predictions in, `scores.json` and what stands beside it out."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from editgrpo.errors import DataError
from editgrpo.evaluation.compare import compare
from editgrpo.evaluation.evaluate import (
    Evaluation,
    evaluate_predictions,
    pool_seeds,
    with_source,
)
from editgrpo.evaluation.predictions import read_predictions, write_predictions
from editgrpo.evaluation.tables import (
    comparison_record,
    metric_rows,
    scores_record,
    study_rows,
)
from editgrpo.evaluation.types import (
    Comparison,
    EvaluationOptions,
    Prediction,
    ProgressCallback,
)
from editgrpo.files import write_json, write_jsonl, write_text
from editgrpo.rewards import load_metric_labeler, load_reward

PREDICTIONS_FILE = "predictions.jsonl"
SCORES_FILE = "scores.json"
TABLE_FILE = "scores.csv"
STUDIES_FILE = "per_study.jsonl"
COMPARISON_FILE = "comparison.json"


def evaluate_file(
    path: Path | Sequence[Path],
    *,
    output: Path | None = None,
    system: str | None = None,
    options: EvaluationOptions | None = None,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Evaluate the predictions of one system.

    Args:
        path: `predictions.jsonl`, or one for each seed of the system.
        output: Folder to write `scores.json`, `scores.csv`, `per_study.jsonl` and, of one file, a
            copy of the predictions to; None writes nothing.
        system: Name in tables; None takes the name of the (first) file's folder.
        options: Reward, bootstrap and rare findings; None takes the defaults.
        progress: Called with studies scored and all studies of all files.

    Returns:
        The evaluation.

    Raises:
        DataError: there is no file, one does not have the documented form, or the files differ in
            their studies.
        ConfigError: the reward is unknown.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    if not paths:
        raise DataError("no predictions to evaluate; give one file at least")
    chosen = options or EvaluationOptions()
    name = system or paths[0].resolve().parent.name
    files = [read_predictions(one) for one in paths]
    reward, labeler = load_reward(chosen.reward), load_metric_labeler(chosen.reward)
    runs = []
    for position, predictions in enumerate(files):
        run = evaluate_predictions(
            predictions,
            system=name,
            reward=reward,
            labeler=labeler,
            options=chosen,
            progress=_shifted(progress, files, position),
        )
        runs.append(with_source(run, str(paths[position])))
    evaluation = runs[0] if len(runs) == 1 else pool_seeds(runs, system=name)
    if output is not None:
        write_evaluation(output, evaluation)
        if len(paths) == 1 and paths[0].resolve() != (output / PREDICTIONS_FILE).resolve():
            write_predictions(output / PREDICTIONS_FILE, files[0])
    return evaluation


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write `per_study.jsonl`, `scores.csv` and, last, `scores.json`, each whole or not at all.

    Args:
        folder: Made if missing.
        evaluation: One system on one test set.
    """
    record = scores_record(evaluation)
    rows = metric_rows(record)
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_jsonl(folder / STUDIES_FILE, study_rows(evaluation))
    write_text(folder / TABLE_FILE, table.getvalue())
    write_json(folder / SCORES_FILE, record)


def compare_files(
    a: Path | Sequence[Path],
    b: Path | Sequence[Path],
    *,
    output: Path | None = None,
    systems: tuple[str | None, str | None] = (None, None),
    options: EvaluationOptions | None = None,
    progress: ProgressCallback | None = None,
) -> Comparison:
    """Evaluate and compare two systems on the same studies.

    Args:
        a: Predictions of the first system, one file for each seed.
        b: Predictions of the second.
        output: Folder to write `comparison.json` to; None writes nothing.
        systems: Their names; None takes the name of the (first) file's folder.
        options: Reward, bootstrap and rare findings; None takes the defaults.
        progress: Called with studies scored and all studies, for a, then for b.

    Returns:
        The differences a - b.

    Raises:
        DataError: a file does not have the documented form, or the studies or references differ.
        ConfigError: the reward is unknown.
    """
    first, second = (
        evaluate_file(path, system=system, options=options, progress=progress)
        for path, system in zip((a, b), systems, strict=True)
    )
    comparison = compare(first, second)
    if output is not None:
        write_comparison(output, comparison)
    return comparison


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write `comparison.json`, whole or not at all; the folder is made if missing."""
    write_json(folder / COMPARISON_FILE, comparison_record(comparison))


def _shifted(
    progress: ProgressCallback | None, files: Sequence[Sequence[Prediction]], position: int
) -> ProgressCallback | None:
    """Report the progress of one of several files as progress of all."""
    if progress is None:
        return None
    before = sum(len(one) for one in files[:position])
    whole = sum(len(one) for one in files)
    return lambda done, _: progress(before + done, whole)
