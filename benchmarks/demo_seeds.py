"""The demo over several seeds: what RESULTS.md and docs/demo.md report.

    .venv/bin/python benchmarks/demo_seeds.py --output runs/demo-seeds --seeds 0 1 2

Each seed has its own studies, weights and draws. The studies of all seeds are pooled; intervals
are bootstraps over studies, differences are paired by study. The last line printed
is one JSON object. A seed whose demo is complete is not run again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from editgrpo.demo.plan import FULL, QUICK, RARE_FINDINGS, DemoPlan, System, TestSet
from editgrpo.demo.run import run_demo
from editgrpo.display.terminal import progress_bar
from editgrpo.evaluation.compare import compare
from editgrpo.evaluation.files import evaluate_file
from editgrpo.evaluation.tables import comparison_record, scores_record
from editgrpo.evaluation.types import EvaluationOptions
from editgrpo.files import read_jsonl, write_json, write_jsonl

SHOWN = (
    "reward/total@rules",
    "average/clinical@rules",
    "rules/micro-f1-14",
    "rules/macro-f1-14",
    "rules/macro-f1-rare",
)


def pooled_predictions(
    plans: list[DemoPlan], system: System, test_set: TestSet, folder: Path
) -> Path:
    """Write one predictions file of all seeds; a study's id gets its seed, since ids repeat."""
    rows = []
    for plan in plans:
        source = plan.evaluation(system, test_set) / "predictions.jsonl"
        for _, row in read_jsonl(source):
            rows.append({**row, "study_id": f"seed-{plan.seed}/{row['study_id']}"})
    path = folder / test_set.value / system.value / "predictions.jsonl"
    write_jsonl(path, rows)
    return path


def judge(plans: list[DemoPlan], test_set: TestSet, folder: Path) -> dict[str, Any]:
    """Score all systems on the pooled studies of one test set and compare EditGRPO with each."""
    options = EvaluationOptions(rare_findings=RARE_FINDINGS)
    found = {}
    for system in System:
        path = pooled_predictions(plans, system, test_set, folder)
        found[system] = evaluate_file(
            path, output=path.parent, system=system.value, options=options
        )
    scores = {system.value: scores_record(evaluation) for system, evaluation in found.items()}
    others = [system for system in System if system is not System.EDITGRPO]
    differences = {
        system.value: comparison_record(compare(found[System.EDITGRPO], found[system]))
        for system in others
    }
    return {
        "n_studies": scores[System.EDITGRPO.value]["n_studies"],
        "scores": {
            system: {name: record["metrics"][name] for name in SHOWN}
            for system, record in scores.items()
        },
        "per_finding": {system: record["per_finding"] for system, record in scores.items()},
        "editgrpo_minus": {
            system: {name: record["metrics"][name] for name in SHOWN}
            for system, record in differences.items()
        },
    }


def show(test_set: TestSet, judged: dict[str, Any]) -> None:
    """Print the metrics of every system and EditGRPO's paired differences."""
    print(f"\n{test_set.value}: {judged['n_studies']} studies")
    for name in SHOWN:
        print(name)
        for system, metrics in judged["scores"].items():
            m = metrics[name]
            print(f"    {system:14} {m['value']:.3f} [{m['low']:.3f}, {m['high']:.3f}]")
        for system, metrics in judged["editgrpo_minus"].items():
            m = metrics[name]
            interval = f"[{m['low']:+.3f}, {m['high']:+.3f}]"
            print(f"    editgrpo - {system:14} {m['difference']:+.3f} {interval} p = {m['p']:.3f}")


def main() -> None:
    """Run the demos, pool them and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/demo-seeds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    plans = [
        DemoPlan(folder=arguments.output / f"seed-{seed}", size=size, seed=seed)
        for seed in arguments.seeds
    ]
    for plan in plans:
        if not plan.report.is_file():
            run_demo(plan, command=f"demo_seeds --seeds {plan.seed}", progress_bar=progress_bar)
    result: dict[str, Any] = {"seeds": arguments.seeds}
    for test_set in TestSet:
        result[test_set.value] = judge(plans, test_set, arguments.output / "pooled")
        show(test_set, result[test_set.value])
    write_json(arguments.output / "pooled" / "result.json", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
