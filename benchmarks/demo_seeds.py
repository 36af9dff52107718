"""The demo over several seeds: what RESULTS.md and docs/demo.md report.

    .venv/bin/python -m benchmarks.demo_seeds --output runs/demo-seeds --seeds 0 1 2

Each seed has its own studies, weights and draws, so each is tested on patients of its own: a
resample draws seeds, and patients within each seed drawn; differences are paired by seed and
patient. A seed whose demo is complete is not run again, and with `--rebuild` none is run: the
tables are made anew from the predictions in the folders. They are printed and written to
`tables.md`; the last line printed is one JSON object, which `result.json` holds too.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.demo_tables import SHOWN, summary, tables
from editgrpo.config import ClinicalConfig
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split
from editgrpo.demo.plan import (
    FULL,
    QUICK,
    RARE_FINDINGS,
    SITE_OF_TEST_SET,
    DemoPlan,
    System,
    TestSet,
)
from editgrpo.demo.run import run_demo
from editgrpo.display.terminal import progress_bar
from editgrpo.errors import DataError
from editgrpo.evaluation.evaluate import Evaluation, evaluate_predictions, with_source
from editgrpo.evaluation.own_test_sets import compare_test_sets, pool_test_sets
from editgrpo.evaluation.predictions import read_predictions
from editgrpo.evaluation.scoring_plan import ScoringPlan, load_plan
from editgrpo.evaluation.tables import comparison_record, scores_record
from editgrpo.evaluation.types import EvaluationOptions
from editgrpo.files import write_json, write_text

OPTIONS = EvaluationOptions(rare_findings=RARE_FINDINGS)


def evaluate_seed(
    plan: DemoPlan, system: System, test_set: TestSet, scoring: ScoringPlan
) -> Evaluation:
    """Score one seed's predictions; patients come from its studies, as predictions of an earlier
    version have none."""
    path = plan.evaluation(system, test_set) / "predictions.jsonl"
    studies = StudySet.load(plan.studies(SITE_OF_TEST_SET[test_set]), split=Split.TEST)
    patients = {study.study_id: study.patient_id for study in studies}
    rows = [replace(row, patient_id=patients[row.study_id]) for row in read_predictions(path)]
    found = evaluate_predictions(rows, system=system.value, plan=scoring, options=OPTIONS)
    return with_source(found, str(path))


def judge(plans: Sequence[DemoPlan], test_set: TestSet, scoring: ScoringPlan) -> dict[str, Any]:
    """Score all systems on one test set of every seed, and compare EditGRPO with each other."""
    pooled = {
        system: pool_test_sets(
            [evaluate_seed(plan, system, test_set, scoring) for plan in plans], system=system.value
        )
        for system in System
    }
    scores = {system.value: scores_record(found) for system, found in pooled.items()}
    differences = {
        system.value: comparison_record(compare_test_sets(pooled[System.EDITGRPO], found))
        for system, found in pooled.items()
        if system is not System.EDITGRPO
    }
    first, compared = scores[System.EDITGRPO.value], differences[System.SFT.value]
    return {
        "n_studies": first["n_studies"],
        "n_patients": first["n_patients"],
        "intervals": first["intervals"],
        "p_values": compared["p_values"],
        "scores": _shown_metrics(scores),
        "per_finding": {system: record["per_finding"] for system, record in scores.items()},
        "editgrpo_minus": _shown_metrics(differences),
    }


def _shown_metrics(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        system: {name: record["metrics"][name] for name in SHOWN}
        for system, record in records.items()
    }


def run_seeds(plans: Sequence[DemoPlan], *, rebuild: bool) -> None:
    """Run the demos that are not complete.

    Raises:
        DataError: nothing may be run, and a demo is not complete.
    """
    for plan in plans:
        if plan.report.is_file():
            continue
        if rebuild:
            raise DataError(f"{plan.folder}: holds no finished demo; leave --rebuild out to run it")
        run_demo(plan, command=f"demo_seeds --seeds {plan.seed}", progress_bar=progress_bar)


def main(words: Sequence[str] | None = None) -> None:
    """Run the demos, judge them and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/demo-seeds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="small sizes: no result")
    parser.add_argument("--rebuild", action="store_true", help="run nothing, make the tables anew")
    arguments = parser.parse_args(words)
    size = QUICK if arguments.quick else FULL
    plans = [
        DemoPlan(folder=arguments.output / f"seed-{seed}", size=size, seed=seed)
        for seed in arguments.seeds
    ]
    run_seeds(plans, rebuild=arguments.rebuild)
    scoring = load_plan(OPTIONS, ClinicalConfig())
    result: dict[str, Any] = {"seeds": arguments.seeds}
    shown = []
    for test_set in TestSet:
        result[test_set.value] = judge(plans, test_set, scoring)
        shown.append(tables(test_set, result[test_set.value], seeds=arguments.seeds))
    text = "\n".join([*shown, summary(result)])
    write_text(arguments.output / "tables.md", text)
    write_json(arguments.output / "result.json", result)
    print(text)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
