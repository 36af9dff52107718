"""What a run folder holds, read for the report.

A run may have been killed while it wrote: a line that is not whole is passed over and counted, and
a file that is not there is noted. `rollouts.jsonl` can be large, so only its keys are kept here;
`rollouts.py` reads the rows that are shown.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from editgrpo.errors import DataError
from editgrpo.files import real_path
from editgrpo.provenance import name_of_run

Row = dict[str, Any]


class RunKind(StrEnum):
    """What a run did, told from its metrics."""

    SFT = "supervised fine-tuning"
    RL = "reinforcement learning"
    EVALUATION = "evaluation only"
    AWAITED = "not begun yet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The scores of one system on one set of studies.

    Attributes:
        name: Name of the folder below `evaluation/`.
        scores: `scores.json`.
        predictions: Path of `predictions.jsonl`; None if it is not there, or not what was scored.
    """

    name: str
    scores: Row
    predictions: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run folder.

    Attributes:
        folder: Where it lies.
        name: Name that is unique in the report.
        kind: What the run did.
        config: The resolved configuration; empty if there is none.
        config_text: `config.yaml` as it stands.
        provenance: `provenance.json`; empty if there is none.
        metrics: Rows of `metrics.jsonl`.
        timings: Rows of `timings.jsonl`.
        evaluations: One for each `evaluation/<name>/scores.json`.
        comparisons: Every `comparison*.json` below `evaluation/`, with the evaluation's name.
        broken_lines: Lines that were passed over because they are not whole JSON objects.
        notes: What is missing, one sentence each.
    """

    folder: Path
    name: str
    kind: RunKind
    config: Row
    config_text: str
    provenance: Row
    metrics: list[Row]
    timings: list[Row]
    evaluations: list[Evaluation]
    comparisons: list[tuple[str, Row]]
    broken_lines: int
    notes: tuple[str, ...]

    @property
    def rollouts(self) -> Path | None:
        """Path of `rollouts.jsonl`, None if the run has none."""
        path = self.folder / "rollouts.jsonl"
        return path if path.is_file() else None


def load_runs(folders: Sequence[Path], *, may_be_new: bool = False) -> list[Run]:
    """Read run folders.

    Args:
        folders: Run folders, in the order in which they shall be shown.
        may_be_new: Whether a run may have written nothing yet, nor made its folder.

    Returns:
        One run for each folder, with unique names.

    Raises:
        DataError: a folder does not exist, or holds nothing that a run writes.
    """
    names = _unique_names(folders)
    return [
        _load_run(folder, name, may_be_new) for folder, name in zip(folders, names, strict=True)
    ]


def has_ended(folder: Path) -> bool:
    """Say whether a run has ended well: it has published its model."""
    return (folder / "model").is_dir()


def read_lines(path: Path) -> tuple[list[Row], int]:
    """Read JSON lines, passing over those that are not whole.

    Args:
        path: The file; it may be missing.

    Returns:
        The objects, and how many lines were passed over.
    """
    if not path.is_file():
        return [], 0
    rows, broken = [], 0
    with path.open("rb") as stream:
        for raw in stream:
            row = parse_line(raw)
            if row is not None:
                rows.append(row)
            elif raw.strip():
                broken += 1
    return rows, broken


def parse_line(raw: bytes) -> Row | None:
    """Parse one line, or return None if it is not a whole JSON object."""
    try:
        # NaN and infinities, which JSON in a browser cannot hold, are None.
        value = json.loads(raw, parse_constant=lambda _: None)
    except ValueError:  # also what a half-written UTF-8 sequence raises
        return None
    return value if isinstance(value, dict) else None


def _unique_names(folders: Sequence[Path]) -> list[str]:
    """Name a run by its own name or its folder, and by as many parents as are needed to tell runs
    apart."""
    resolved = [real_path(folder) for folder in folders]
    names = [name_of_run(folder) for folder in resolved]
    depth = 0
    while len(set(names)) < len(set(resolved)):
        depth += 1
        repeated = {name for name in names if names.count(name) > 1}
        names = [
            "/".join(folder.parts[-depth:]) if name in repeated else name
            for folder, name in zip(resolved, names, strict=True)
        ]
    return names


def _load_run(folder: Path, name: str, may_be_new: bool) -> Run:
    if not (may_be_new or folder.is_dir()):
        raise DataError(f"{folder}: no such run folder; give folders that a run wrote")
    metrics, broken_metrics = read_lines(folder / "metrics.jsonl")
    timings, broken_timings = read_lines(folder / "timings.jsonl")
    config_text, config = _read_config(folder / "config.yaml")
    evaluations = _read_evaluations(folder)
    if not (may_be_new or metrics or config or evaluations):
        raise DataError(
            f"{folder}: holds no metrics.jsonl, config.yaml or evaluation/*/scores.json; "
            "give a folder that `editgrpo sft`, `train` or `evaluate` wrote"
        )
    kind = _kind(metrics)
    if may_be_new and not (metrics or evaluations):
        kind = RunKind.AWAITED
    return Run(
        folder=folder,
        name=name,
        kind=kind,
        config=config,
        config_text=config_text,
        provenance=_read_object(folder / "provenance.json"),
        metrics=metrics,
        timings=timings,
        evaluations=evaluations,
        comparisons=_read_comparisons(folder),
        broken_lines=broken_metrics + broken_timings,
        notes=_notes(folder, kind, has_evaluations=bool(evaluations)),
    )


def _kind(metrics: list[Row]) -> RunKind:
    if any("reward/sampled/mean" in row for row in metrics):
        return RunKind.RL
    return RunKind.SFT if metrics else RunKind.EVALUATION


def _notes(folder: Path, kind: RunKind, *, has_evaluations: bool) -> tuple[str, ...]:
    if kind is RunKind.AWAITED:
        return ()
    notes = []
    if kind is RunKind.EVALUATION:
        notes.append("no metrics.jsonl: no training curves")
    if kind is RunKind.RL and not (folder / "rollouts.jsonl").is_file():
        notes.append("no rollouts.jsonl: no study pages")
    if kind is RunKind.RL and not (folder / "timings.jsonl").is_file():
        notes.append("no timings.jsonl: no durations")
    if not has_evaluations:
        notes.append("no evaluation/*/scores.json: no results")
    if not (folder / "provenance.json").is_file():
        notes.append("no provenance.json: versions and commit are not known")
    return tuple(notes)


def _read_config(path: Path) -> tuple[str, Row]:
    if not path.is_file():
        return "", {}
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text, {}  # shown as it stands; only the studies' folder is read from it
    return text, value if isinstance(value, dict) else {}


def _read_object(path: Path) -> Row:
    return (parse_line(path.read_bytes()) or {}) if path.is_file() else {}


def _read_evaluations(folder: Path) -> list[Evaluation]:
    evaluations = []
    for path in sorted((folder / "evaluation").glob("*/scores.json")):
        scores = _read_object(path)
        if isinstance(scores.get("metrics"), dict):
            predictions = path.with_name("predictions.jsonl")
            # Scores of several seeds are not those of one file.
            is_shown = scores.get("n_seeds", 1) == 1 and predictions.is_file()
            evaluations.append(
                Evaluation(
                    name=path.parent.name,
                    scores=scores,
                    predictions=predictions if is_shown else None,
                )
            )
    return evaluations


def _read_comparisons(folder: Path) -> list[tuple[str, Row]]:
    found = []
    for path in sorted((folder / "evaluation").rglob("comparison*.json")):
        comparison = _read_object(path)
        if isinstance(comparison.get("metrics"), dict):
            found.append((path.relative_to(folder / "evaluation").parts[0], comparison))
    return found
