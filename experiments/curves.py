"""How a run went, thinned for a result file: metrics over windows of steps, and what its policy
said while it learned."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.files import read_jsonl
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.training.run.folder import METRICS, append_line
from editgrpo.training.step.responses import Kind
from editgrpo.training.step.scoring import ScoredGroup
from experiments.saying import labels_of

SAID = "said.jsonl"
SECONDS = "seconds.jsonl"
# Enough for a curve in print, and few enough for a file in a repository.
_MOST_POINTS = 100
_MOST_WINDOWS = 20
_KEPT = ("loss", "grad_norm", "learning_rate", "kl", "entropy", "zero_advantage_groups")
_KEPT_BEGINNINGS = ("reward/", "edits/", "edit_gain/", "length/", "validation/")


def windows(rows: Sequence[Mapping[str, Any]], most: int) -> list[Sequence[Mapping[str, Any]]]:
    """Cut rows into at most so many windows of equally many steps."""
    size = max(1, -(-len(rows) // most))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def curve(run: Path) -> dict[str, list[float | None]]:
    """Return the metrics of a run, averaged over windows of steps.

    Args:
        run: The run folder.

    Returns:
        `step`, the last of each window, and for each metric its means with four significant
        digits; None where a window does not have it.
    """
    rows = [row for _, row in read_jsonl(run / METRICS)]
    names = dict.fromkeys(name for row in rows for name in row if _is_kept(name))
    cut = windows([row for row in rows if _is_kept_row(row)], _MOST_POINTS)
    found: dict[str, list[float | None]] = {"step": [part[-1]["step"] for part in cut]}
    for name in names:
        found[name] = [_mean(row[name] for row in part if name in row) for part in cut]
    return found


def _is_kept(name: str) -> bool:
    return name in _KEPT or name.startswith(_KEPT_BEGINNINGS)


def _is_kept_row(row: Mapping[str, Any]) -> bool:
    return "step" in row and any(_is_kept(name) for name in row)


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return float(f"{fmean(numbers):.4g}") if numbers else None


def sayings_recorder(run: Path) -> Callable[[int, Sequence[ScoredGroup]], None]:
    """Return what notes, at each step, how often each finding is said in sampled responses.

    Args:
        run: The run folder; a row a step is added to its `said.jsonl`.

    Returns:
        For `run_training(on_groups=...)`.
    """

    def record(step: int, groups: Sequence[ScoredGroup]) -> None:
        pairs = [
            (response.text, group.group.reference)
            for group in groups
            if not group.is_dropped
            for response in group.group.responses
            if response.kind is Kind.SAMPLED
        ]
        if not pairs:
            return
        labels = labels_of([text for pair in pairs for text in pair]).reshape(len(pairs), 2, -1)
        said, present = labels[:, 0].astype(bool), labels[:, 1].astype(bool)
        row = {
            "said_present": (said & present).sum(axis=0).tolist(),
            "present": present.sum(axis=0).tolist(),
            "said_absent": (said & ~present).sum(axis=0).tolist(),
            "absent": (~present).sum(axis=0).tolist(),
        }
        append_line(run / SAID, {"step": step, **row})

    return record


def sayings(run: Path) -> dict[str, Any]:
    """Sum up what a policy said over windows of steps.

    Args:
        run: The run folder.

    Returns:
        `step`, the last of each window, and for each finding that occurs the four lists of counts
        (said and samples, where present and where absent); empty for a run that samples nothing.
    """
    if not (run / SAID).is_file():
        return {}
    # A run that was resumed wrote some steps twice; the later row is the one that counts.
    by_step = {row["step"]: row for _, row in read_jsonl(run / SAID)}
    cut = windows([by_step[step] for step in sorted(by_step)], _MOST_WINDOWS)
    names = ("said_present", "present", "said_absent", "absent")
    sums = {name: np.array([_sum(part, name) for part in cut]) for name in names}
    return {
        "step": [part[-1]["step"] for part in cut],
        "findings": {
            finding: {name: sums[name][:, k].tolist() for name in names}
            for k, finding in enumerate(FINDINGS)
            if sums["present"][:, k].any()
        },
    }


def _sum(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.int64]:
    return np.asarray(np.sum([row[name] for row in rows], axis=0))


def spent_seconds(run: Path) -> float:
    """Return the seconds of a run's steps and validations; of what ran twice those of the last
    time."""
    if not (run / SECONDS).is_file():
        return 0.0
    last = {(row["step"], row["part"]): row["seconds"] for _, row in read_jsonl(run / SECONDS)}
    return float(sum(last.values()))
