"""Learning rates tried on validation: the same grid for every arm, the best by average score."""

from collections.abc import Mapping, Sequence
from typing import Any

from editgrpo.display.numbers import format_score
from experiments.definitions import Stage
from experiments.job import VALIDATION
from experiments.judge import load_results
from experiments.places import Places
from experiments.rows import AVERAGE, SHOWN, evaluation_of
from experiments.show import Grid


def tuned(stage: Stage, trials: Sequence[str], places: Places) -> dict[str, Any]:
    """Return what each trial scored on validation, and the best rate of each arm.

    Args:
        stage: Where they were run.
        trials: Their names; those without a result are left out.
        places: Where results are.

    Returns:
        `trials`, name to metrics, means over the seeds; and `best`, arm to learning rate.
    """
    scores: dict[str, dict[str, float]] = {}
    best: dict[str, tuple[float, float]] = {}
    for name in trials:
        # Each seed is judged by itself: studies may be drawn anew for each.
        results = load_results(stage.name, name, places).values()
        by_seed = [_scores(stage, name, one) for one in results]
        if not by_seed:
            continue
        scores[name] = {
            metric: sum(one[metric] for one in by_seed) / len(by_seed) for metric in by_seed[0]
        }
        arm, _, rate = name.rpartition("/")[2].partition("@")
        reached = (scores[name][AVERAGE], float(rate))
        best[arm] = max(best.get(arm, reached), reached)
    return {"trials": scores, "best": {arm: rate for arm, (_, rate) in best.items()}}


def _scores(stage: Stage, name: str, result: Mapping[str, Any]) -> dict[str, float]:
    evaluation = evaluation_of(
        [result["test_sets"][VALIDATION]],
        result["references"][VALIDATION],
        system=name,
        rare_findings=stage.rare_findings,
    )
    known = evaluation.metrics
    return {metric: known[metric].value for metric in SHOWN if metric in known}


def tuning_grid(stage: Stage, found: Mapping[str, Any]) -> Grid:
    """Lay out what `tuned` returned."""
    rates = found["best"]
    rows = []
    for name, scores in found["trials"].items():
        arm, _, rate = name.rpartition("/")[2].partition("@")
        mark = " (best)" if float(rate) == rates[arm] else ""
        rows.append((arm, f"{rate}{mark}", *(format_score(value) for value in scores.values())))
    return Grid(
        title=f"Stage {stage.name}: validation studies of RL's training set",
        head=("arm", "learning rate", *SHOWN.values()),
        rows=tuple(rows),
    )
