"""Test studies on which the systems' predictions are side by side."""

from collections.abc import Sequence
from typing import Any

from editgrpo.data.identifiers import identifier
from editgrpo.display.html.rollouts import spread
from editgrpo.display.html.runs import Evaluation, Row, Run, read_lines
from editgrpo.display.html.segments import cut_sentences

_NOT_SCORES = ("study_id", "patient_id", "prediction", "reference")


def shown_predictions(runs: Sequence[Run], limit: int) -> tuple[list[dict[str, Any]], int]:
    """Choose test studies and read what every system wrote for them.

    Studies are spread evenly over the length of the reference, from short (mostly normal) to long,
    without regard to any system's score, so that the choice favours nobody.

    Args:
        runs: The runs of the report.
        limit: Most studies, shared equally by the evaluations.

    Returns:
        Pages with `evaluation`, `study`, `reference` (sentences) and `predictions`, one a run; and
        the count of lines that are not whole.
    """
    evaluations = list(dict.fromkeys(e.name for run in runs for e in run.evaluations))
    pages: list[dict[str, Any]] = []
    broken = 0
    for number, name in enumerate(evaluations):
        share = limit // len(evaluations) + (number < limit % len(evaluations))
        by_run: dict[int, dict[str, Row]] = {}
        for index, run in enumerate(runs):
            rows, bad = _rows(run, name)
            broken += bad
            if rows:
                by_run[index] = rows
        pages += _pages(name, by_run, share)
    return pages, broken


def _rows(run: Run, name: str) -> tuple[dict[str, Row], int]:
    """Read predictions with the per-study scores of each, by study."""
    evaluation = next((one for one in run.evaluations if one.name == name), None)
    if evaluation is None or evaluation.predictions is None:
        return {}, 0
    lines, broken = read_lines(evaluation.predictions)
    rows = {
        identifier(row["study_id"]) or str(row["study_id"]): row
        for row in lines
        if "study_id" in row and "prediction" in row
    }
    broken += _add_scores(evaluation, rows)
    return rows, broken


def _add_scores(evaluation: Evaluation, rows: dict[str, Row]) -> int:
    """Add the clinical scores; text statistics say little of one report."""
    if evaluation.predictions is None:
        return 0
    scores, broken = read_lines(evaluation.predictions.with_name("per_study.jsonl"))
    for score in scores:
        row = rows.get(str(score.get("study_id")))
        if row is not None:
            row["scores"] = {
                key: value
                for key, value in score.items()
                if key not in _NOT_SCORES
                and not key.startswith("text/")
                and isinstance(value, int | float)
            }
    return broken


def _pages(name: str, by_run: dict[int, dict[str, Row]], limit: int) -> list[dict[str, Any]]:
    if not by_run:
        return []
    # Every study that all systems predicted; a system that saw only part limits the choice.
    first = next(iter(by_run.values()))
    common = [key for key in first if all(key in rows for rows in by_run.values())]
    common.sort(key=lambda key: (len(str(first[key].get("reference", ""))), key))
    chosen = set(spread(common)[:limit])
    pages = []
    for study in (key for key in common if key in chosen):
        reference = cut_sentences(str(first[study].get("reference", "")))
        known = set(reference)
        pages.append(
            {
                "evaluation": name,
                "study": study,
                "reference": reference,
                "predictions": [
                    {
                        "run": run,
                        "scores": rows[study].get("scores", {}),
                        "segments": [
                            ["kept", text, text in known]
                            for text in cut_sentences(str(rows[study]["prediction"]))
                        ],
                    }
                    for run, rows in by_run.items()
                ],
            }
        )
    return pages
