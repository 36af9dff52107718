"""Evaluations of files of predictions.

What comes of them is written by `outputs.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from editgrpo.config import ClinicalConfig, Section
from editgrpo.errors import DataError
from editgrpo.evaluation.compare import compare
from editgrpo.evaluation.evaluate import Evaluation, evaluate_predictions, pool_seeds
from editgrpo.evaluation.outputs import PARTIALS, Outcome, write_outcome
from editgrpo.evaluation.predictions import read_predictions
from editgrpo.evaluation.rows import require_same_rows, rows_of
from editgrpo.evaluation.scored_texts import scored_texts
from editgrpo.evaluation.scoring_plan import load_plan
from editgrpo.evaluation.types import Comparison, EvaluationOptions, Prediction, ProgressCallback
from editgrpo.files import real_path
from editgrpo.provenance import CONFIG_FILE, name_of_run

# Of a run folder: where its predictions and scores lie.
_EVALUATION = "evaluation"


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemFiles:
    """The predictions of one system.

    Attributes:
        paths: One file for each seed, at least one.
        name: Name in tables; None takes one from the path of the first file (`system_names`).
    """

    paths: tuple[Path, ...]
    name: str | None = None


def system_names(systems: Sequence[SystemFiles], *, by_file: bool = False) -> list[str]:
    """Name systems so that no two columns have one heading.

    Args:
        systems: At least one file each.
        by_file: Whether a system without a name takes that of its first file, else of its folder.

    Returns:
        The given names; for the others the shortest end of their paths that tells them apart, with
        a number behind it where nothing does, as for one file twice. What lies in a run's
        `evaluation/` has the name of the run.
    """
    files = [real_path(system.paths[0]) for system in systems]
    by_name = [path.with_suffix("").parts for path in files]
    by_folder = [_folder_parts(path) for path in files]
    names: list[str] = []
    for parts in (by_name,) if by_file else (by_folder, by_name):
        for depth in range(1, max(map(len, parts)) + 1):
            names = [
                system.name or "/".join(ends[-depth:])
                for system, ends in zip(systems, parts, strict=True)
            ]
            if len(set(names)) == len(names):
                return names
    return [f"{name} ({number})" for number, name in enumerate(names, start=1)]


def _folder_parts(path: Path) -> tuple[str, ...]:
    """Return the folder of a file in parts; of one in RUN/evaluation/TEST, that of the run."""
    run = path.parent.parent.parent
    if path.parent.parent.name == _EVALUATION and (run / CONFIG_FILE).is_file():
        return (*run.parent.parts, name_of_run(run))
    return path.parent.parts


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
    names = system_names(systems)
    chosen = options or EvaluationOptions()
    files = _read(systems, chosen.section)
    chosen = replace(chosen, target=next(iter(files.values()))[0].target)
    plan = load_plan(chosen, clinical or ClinicalConfig())
    whole, before = sum(len(files[path]) for one in systems for path in one.paths), 0

    def advance(done: int, _: int) -> None:
        if progress is not None:
            progress(before + done, whole)

    evaluations = []
    for name, system in zip(names, systems, strict=True):
        runs = []
        for path in system.paths:
            run = evaluate_predictions(
                files[path],
                system=name,
                plan=plan,
                options=chosen,
                partials=partials,
                progress=advance,
            )
            before += len(files[path])
            runs.append(replace(run, predictions=(str(path),)))
        evaluations.append(runs[0] if len(runs) == 1 else pool_seeds(runs, system=name))
    comparison = compare(*evaluations) if len(evaluations) > 1 else None
    return Outcome(evaluations=tuple(evaluations), comparison=comparison)


def _read(systems: Sequence[SystemFiles], section: Section | None) -> dict[Path, list[Prediction]]:
    """Read what is scored of all files, and refuse those that cannot be pooled or compared."""
    for system in systems:
        resolved = [real_path(path) for path in system.paths]
        for path, place in zip(system.paths, resolved, strict=True):
            if resolved.count(place) > 1:
                raise DataError(f"{path}: appears twice; give one file for each training seed")
    files = {path: read_predictions(path) for system in systems for path in system.paths}
    targets = {rows[0].target: path for path, rows in files.items()}
    if len(targets) > 1:
        named = "; ".join(f"{path}: {target.value}" for target, path in targets.items())
        raise DataError(f"predictions of several targets ({named}); score each target by itself")
    files = {path: scored_texts(rows, section, where=str(path)) for path, rows in files.items()}
    first, *others = (rows_of(rows, system=str(path)) for path, rows in files.items())
    for other in others:
        require_same_rows(first, other)
    return files


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


def _paths(path: Path | Sequence[Path]) -> tuple[Path, ...]:
    return (path,) if isinstance(path, Path) else tuple(path)
