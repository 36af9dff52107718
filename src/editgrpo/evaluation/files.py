"""Evaluations of files: predictions in, results out.

A folder of results is what `editgrpo report` shows (`scores.json` and what stands beside it); a
single file of scores is for whoever reads them elsewhere. Both come from the same evaluation.
"""

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editgrpo.config import ClinicalConfig
from editgrpo.errors import DataError
from editgrpo.evaluation.compare import compare
from editgrpo.evaluation.evaluate import (
    Evaluation,
    evaluate_predictions,
    pool_seeds,
    with_source,
)
from editgrpo.evaluation.predictions import read_predictions, write_predictions
from editgrpo.evaluation.sources import load_plan
from editgrpo.evaluation.tables import (
    comparison_record,
    metric_rows,
    scores_record,
    study_rows,
)
from editgrpo.evaluation.types import (
    Comparison,
    EvaluationOptions,
    ProgressCallback,
)
from editgrpo.files import write_json, write_jsonl, write_text

PREDICTIONS_FILE = "predictions.jsonl"
SCORES_FILE = "scores.json"
TABLE_FILE = "scores.csv"
STUDIES_FILE = "per_study.jsonl"
COMPARISON_FILE = "comparison.json"

SUMMARY_SUFFIX = ".summary.json"
PARTIALS = ".scoring"


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemFiles:
    """The predictions of one system.

    Attributes:
        paths: One file for each seed, at least one.
        name: Name in tables; None takes the name of the first file's folder.
    """

    paths: tuple[Path, ...]
    name: str | None = None

    @property
    def shown(self) -> str:
        """The name in tables."""
        return self.name or self.paths[0].resolve().parent.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of scoring one system, or two on the same studies.

    Attributes:
        evaluations: One for each system.
        comparison: The first minus the second, if there are two.
    """

    evaluations: tuple[Evaluation, ...]
    comparison: Comparison | None


def evaluate_systems(
    systems: Sequence[SystemFiles],
    *,
    options: EvaluationOptions | None = None,
    clinical: ClinicalConfig | None = None,
    partials: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Outcome:
    """Evaluate one system, or two and their differences.

    Args:
        systems: One or two.
        options: Metrics, bootstrap and rare findings; None takes the defaults.
        clinical: Where the clinical models lie and how they run; None takes the defaults.
        partials: Hidden folder in which numbers wait until the results are written, so that a
            stopped run goes on from there; the caller removes it. None cannot be taken up again.
        progress: Called with studies scored and all studies of all files.

    Returns:
        The evaluations and the comparison.

    Raises:
        DataError: there is no file, one does not have the documented form, or the files differ in
            their studies.
        ConfigError: a metric is unknown.
        ModelError: weights are missing.
    """
    if not all(system.paths for system in systems):
        raise DataError("no predictions to evaluate; give one file at least")
    chosen = options or EvaluationOptions()
    files = {path: read_predictions(path) for system in systems for path in system.paths}
    plan = load_plan(chosen, clinical or ClinicalConfig())
    count = _Counted(progress, sum(len(files[path]) for one in systems for path in one.paths))
    evaluations = []
    for system in systems:
        runs = []
        for path in system.paths:
            run = evaluate_predictions(
                files[path],
                system=system.shown,
                plan=plan,
                options=chosen,
                partials=partials,
                progress=count.within_file,
            )
            count.file_is_done(len(files[path]))
            runs.append(with_source(run, str(path)))
        evaluations.append(runs[0] if len(runs) == 1 else pool_seeds(runs, system=system.shown))
    comparison = compare(*evaluations) if len(evaluations) > 1 else None
    return Outcome(evaluations=tuple(evaluations), comparison=comparison)


def evaluate_file(
    path: Path | Sequence[Path],
    *,
    output: Path | None = None,
    system: str | None = None,
    options: EvaluationOptions | None = None,
    clinical: ClinicalConfig | None = None,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Evaluate the predictions of one system; see `evaluate_systems`.

    Args:
        path: `predictions.jsonl` or a CSV file, or one for each seed of the system.
        output: Folder to write to (`write_outcome`); None writes nothing.
        system: Name in tables; None takes the name of the (first) file's folder.
        options: Metrics, bootstrap and rare findings; None takes the defaults.
        clinical: Where the clinical models lie and how they run; None takes the defaults.
        progress: Called with studies scored and all studies of all files.

    Returns:
        The evaluation.

    Raises:
        DataError: there is no file, one does not have the documented form, or the files differ in
            their studies.
        ConfigError: a metric is unknown.
        ModelError: weights are missing.
    """
    files = SystemFiles(paths=_paths(path), name=system)
    partials = None if output is None else output / PARTIALS
    outcome = evaluate_systems(
        [files], options=options, clinical=clinical, partials=partials, progress=progress
    )
    if output is not None:
        write_outcome(output, outcome)
    return outcome.evaluations[0]


def compare_files(
    a: Path | Sequence[Path],
    b: Path | Sequence[Path],
    *,
    systems: tuple[str | None, str | None] = (None, None),
    options: EvaluationOptions | None = None,
    clinical: ClinicalConfig | None = None,
    progress: ProgressCallback | None = None,
) -> Comparison:
    """Evaluate and compare two systems on the same studies; see `evaluate_systems`.

    Args:
        a: Predictions of the first system, one file for each seed.
        b: Predictions of the second.
        systems: Their names; None takes the name of the (first) file's folder.
        options: Metrics, bootstrap and rare findings; None takes the defaults.
        clinical: Where the clinical models lie and how they run; None takes the defaults.
        progress: Called with studies scored and all studies of all files.

    Returns:
        The differences a - b.

    Raises:
        DataError: a file does not have the documented form, or the studies or references differ.
        ConfigError: a metric is unknown.
        ModelError: weights are missing.
    """
    files = [
        SystemFiles(paths=_paths(path), name=name)
        for path, name in zip((a, b), systems, strict=True)
    ]
    outcome = evaluate_systems(files, options=options, clinical=clinical, progress=progress)
    assert outcome.comparison is not None
    return outcome.comparison


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write a folder of results, each file whole or not at all, `scores.json` after the rest.

    Args:
        folder: Made if missing. Of the first system: `per_study.jsonl`, `scores.csv`, `scores.json`
            and, of one seed, a copy of the predictions; `comparison.json` if there are two.
        outcome: What `evaluate_systems` returned; its numbers that wait in `.scoring` are removed.
    """
    evaluation = outcome.evaluations[0]
    _copy_predictions(folder, evaluation)
    record = scores_record(evaluation)
    write_jsonl(folder / STUDIES_FILE, study_rows(evaluation))
    write_text(folder / TABLE_FILE, _csv_text(metric_rows(record)))
    if outcome.comparison is not None:
        write_comparison(folder, outcome.comparison)
    write_json(folder / SCORES_FILE, record)
    shutil.rmtree(folder / PARTIALS, ignore_errors=True)


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write `comparison.json`, whole or not at all; the folder is made if missing."""
    write_json(folder / COMPARISON_FILE, comparison_record(comparison))


def write_scores(output: Path, outcome: Outcome) -> Path:
    """Write the scores of each report of the first system, and a summary beside them.

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
        write_text(output, _csv_text(rows))
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


class _Counted:
    """Progress of one file as progress of all."""

    def __init__(self, progress: ProgressCallback | None, whole: int) -> None:
        self._progress = progress
        self._whole = whole
        self._before = 0

    def within_file(self, done: int, _: int) -> None:
        if self._progress is not None:
            self._progress(self._before + done, self._whole)

    def file_is_done(self, studies: int) -> None:
        self._before += studies


def _copy_predictions(folder: Path, evaluation: Evaluation) -> None:
    """Put a single file of predictions beside its results, where `editgrpo report` looks."""
    sources = [Path(name) for name in evaluation.predictions]
    copy = folder / PREDICTIONS_FILE
    if len(sources) == 1 and sources[0].resolve() != copy.resolve():
        write_predictions(copy, read_predictions(sources[0]))


def _paths(path: Path | Sequence[Path]) -> tuple[Path, ...]:
    return (path,) if isinstance(path, Path) else tuple(path)


def _csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
