"""Measure whole training steps, from the rollout to the optimiser's step, against stock TRL.

    .venv/bin/python -m benchmarks.train_step [--family NAME] [--quick] [--json FILE]

Each step takes four studies of three images that no step before had, samples G = 10 responses for
each, scores them by the rules reward, computes the reference's log-probabilities, and makes one
update of AdamW; the vision tower is frozen. Both sides have the same weights and studies, compute
in float32 with the same number of threads, and keep all activations. The end token is forbidden on
both sides, so that all sampled responses have 60 tokens. Stock TRL generates by transformers, its
default without vLLM.

- `stock`: TRL's own GRPOTrainer.
- `ours`: the same work, without edits. Goal: 4 times as fast.
- `ours_edited`: with them, as in EditGRPO: half of the responses are sampled, half edited versions.
- `ours_overlapped`: the same, with one half of the studies sampled while the other is edited and
  scored.

Each measurement has a process of its own, whose first step is the warm-up; our check of the
packed pass against the stock model, once a run, falls into it. The last line printed is one JSON
object.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.children import measured_by_child
from benchmarks.families import FAMILIES, QWEN2_5_VL
from benchmarks.workload import Case, environment, model_of, prepare

GOAL = 4.0
VARIANTS = ("stock", "ours", "ours_edited", "ours_overlapped")
PROMPTS = 4
_CHILD = "benchmarks.train_measure"


def main() -> None:
    """Measure all variants in other processes, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, default=QWEN2_5_VL)
    parser.add_argument("--quick", action="store_true", help="one study a step, one timed step")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--rounds", type=int, default=2, help="how often variants take turns")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of each process")
    parser.add_argument("--json", type=Path, help="write the result here, too")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds = arguments.steps = 1
    prompts = 1 if arguments.quick else PROMPTS
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in arguments.only}
    with tempfile.TemporaryDirectory(prefix="editgrpo-step-") as folder:
        studies = prompts * (1 + arguments.steps)
        prepare(Path(folder), studies=studies, family=arguments.family)
        for number in range(arguments.rounds):
            for name in arguments.only if number % 2 == 0 else arguments.only[::-1]:
                words = (name, folder, str(prompts), str(1 + arguments.steps))
                found[name].append(measured_by_child(_CHILD, *words))
                print(line(name, summary(found[name])), file=sys.stderr, flush=True)
        model = model_of(Path(folder))
    case = Case()
    result = {
        "model": model,
        "prompts_per_step": prompts,
        "group": case.group,
        "sampled_tokens": case.response,
        **report({name: summary(children) for name, children in found.items()}),
        **environment(),
    }
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the measurements of one variant's processes together.

    Args:
        found: What each process gave.

    Returns:
        Median seconds of a step and of each phase, `rest` being what lies in none; all steps'
        seconds; the mean length of responses; memory in MiB.
    """
    steps = [step for child in found for step in child["steps"]]
    phases = {name: median(step[name] for step in steps) for name in steps[0] if name != "step_s"}
    step_s = median(step["step_s"] for step in steps)
    phases["rest"] = step_s - sum(phases.values()) + 2 * phases.get("hidden", 0.0)
    lengths = [length for child in found for length in child["response_tokens"]]
    return {
        "step_s": round(step_s, 2),
        "all_step_s": [round(step["step_s"], 2) for step in steps],
        "phases_s": {name: round(value, 3) for name, value in phases.items()},
        "response_tokens": round(sum(lengths) / len(lengths), 1),
        "before_mib": median(child["before_mib"] for child in found),
        "peak_mib": median(child["peak_mib"] for child in found),
    }


def report(summaries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Add the ratios to the summaries of the variants.

    Args:
        summaries: By name of the variant.

    Returns:
        The summaries; `ratios` of stock to the same work of ours, the lowest and highest over all
        pairs of steps; how often as fast the others are; whether the goal is met.
    """
    result: dict[str, Any] = dict(summaries)
    if "stock" not in summaries:
        return result
    stock = summaries["stock"]
    times = {
        name: round(stock["step_s"] / one["step_s"], 2)
        for name, one in summaries.items()
        if name != "stock"
    }
    result["times_as_fast"] = times
    if "ours" in summaries:
        ours = summaries["ours"]
        if stock["response_tokens"] != ours["response_tokens"]:
            sys.exit("the sides sampled responses of different lengths")
        pairs = [one / other for one in stock["all_step_s"] for other in ours["all_step_s"]]
        result |= {
            "ratios": {"step": times["ours"]},
            "ratio_lowest": round(min(pairs), 2),
            "ratio_highest": round(max(pairs), 2),
            "goal": GOAL,
            "within_goals": times["ours"] >= GOAL,
        }
    return result


def line(name: str, found: dict[str, Any]) -> str:
    """Say in one line what a variant took."""
    phases = ", ".join(f"{phase} {value:.2f}" for phase, value in found["phases_s"].items())
    return f"{name:15} {found['step_s']:6.2f} s a step, {found['peak_mib']} MiB ({phases})"


if __name__ == "__main__":
    main()
