"""Measure the training step of the 3B architecture at the paper's settings on one GPU.

    PYTHONPATH=src python3 -m benchmarks.gpu_step --output gpu_step.json

Needs torch 2.11, transformers 5.17, accelerate and peft; neither network, weights, data nor TRL
(benchmarks/GPU.md). Sections that do not fit the memory or the time are left out and say so. The
results are written after every section; the last line printed is one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_bench import Bench
from benchmarks.gpu_measure import Report, ceilings, environment, rounded
from benchmarks.gpu_policy import EIGHT_BIT, FULL, LORA, Kind
from benchmarks.gpu_workload import PAPER, SMALL

GOAL_S = 30
_PAPER_GPU_SECONDS = 4 * 432  # four A100, 432 s a step
# Of the card, in GiB; one of them is left to CUDA itself.
LIMITS_GIB = {FULL: 76, EIGHT_BIT: 76, LORA: 24}
_CUDA_GIB = 1


def main() -> None:
    """Run all sections, print the tables and the object."""
    arguments = parse_arguments()
    is_gpu = torch.cuda.is_available() and not arguments.small
    device = torch.device("cuda", 0) if is_gpu else torch.device("cpu")
    if device.type == "cpu" and not arguments.small:
        sys.exit("no CUDA device; --small tries the same code on a CPU")
    report = Report(arguments.output, arguments.budget_s, device)
    surroundings = environment(device)
    try:
        run_sections(report, device, is_small=arguments.small)
    finally:
        result = summarise(report.sections, is_small=arguments.small) | surroundings
        report.write(result)
        print(tables(result))
        print(json.dumps(result))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("gpu_step.json"))
    parser.add_argument("--budget-s", type=float, default=540, help="seconds for all sections")
    parser.add_argument("--small", action="store_true", help="a tiny model on the CPU")
    return parser.parse_args()


def run_sections(report: Report, device: torch.device, *, is_small: bool) -> None:
    """Run the sections, what matters most first and what may break the process last.

    Args:
        report: Keeps what they find.
        device: What computes.
        is_small: Whether the model is a tiny one.
    """
    shape = SMALL if is_small else PAPER
    report.run("ceilings", lambda: ceilings(device, shape.matmul), needs_s=5)
    bench = Bench(shape, device)

    def step(kind: Kind, repeats: int) -> None:
        limit_mib = (LIMITS_GIB[kind] - _CUDA_GIB) * 1024
        report.run(
            f"step {kind.name}",
            lambda: bench.step(kind, limit_mib=limit_mib, repeats=repeats),
            needs_s=30,
        )

    step(FULL, 2)
    report.run("tokens per pass", lambda: bench.sweep(FULL), needs_s=30)
    report.run("checkpointing float32", lambda: bench.checkpointing(FULL), needs_s=20)
    report.run("rows", lambda: bench.rows(FULL), needs_s=20)
    report.run("windows", lambda: bench.windows(FULL), needs_s=5)
    step(LORA, 1)
    report.run("checkpointing lora", lambda: bench.checkpointing(LORA), needs_s=20)
    step(EIGHT_BIT, 1)
    report.run("agreement", bench.agreement, needs_s=10)
    report.run("kernels", bench.kernels, needs_s=20)
    report.run("decode", lambda: bench.decode(FULL), needs_s=30)


def summarise(sections: dict[str, dict[str, Any]], *, is_small: bool) -> dict[str, Any]:
    """Put what matters in front.

    Args:
        sections: What was found.
        is_small: Whether the model was a tiny one, whose times say nothing.

    Returns:
        The result; entries whose section failed are left out.
    """
    full, rows = sections.get(f"step {FULL.name}", {}), sections.get("rows", {})
    ratios = {
        "update_of_a_group": rows.get("ratio"),
        "update_of_a_group_without_vision": rows.get("ratio_without_vision"),
        "update_memory": rows.get("memory_ratio"),
        "windows_in_batches": sections.get("windows", {}).get("ratio"),
        "compiled_decoding": sections.get("decode", {}).get("ratio"),
    }
    if "step_s" in full and not is_small:
        ratios["gpu_seconds_of_the_paper"] = rounded(_PAPER_GPU_SECONDS / full["step_s"])
    return {
        "ratios": {name: value for name, value in ratios.items() if value is not None},
        "step_s": full.get("step_s"),
        "phases": full.get("phases", {}),
        "mfu": full.get("mfu", {}),
        "tokens_per_s": full.get("tokens_per_s", {}),
        "peak_memory_mib": {
            kind.name: {
                "tensors": max(found["peak_mib"].values(), default=None),
                "reserved": found["reserved_mib"],
            }
            for kind in LIMITS_GIB
            if "peak_mib" in (found := sections.get(f"step {kind.name}", {}))
        },
        "checks": {} if is_small else checks(sections),
        "sections": sections,
    }


def checks(sections: dict[str, dict[str, Any]]) -> dict[str, bool | None]:
    """Return whether each claim held; None where it was not measured."""
    full = sections.get(f"step {FULL.name}", {})
    found: dict[str, bool | None] = {
        f"full step in {GOAL_S} s": full["step_s"] <= GOAL_S if "step_s" in full else None
    }
    for kind, limit in LIMITS_GIB.items():
        step = sections.get(f"step {kind.name}", {})
        found[f"{kind.name} in {limit} GiB"] = step.get("fits_limit")
    return found


def tables(result: dict[str, Any]) -> str:
    """Return the phases of every step, and the checks, for a reader."""
    steps = {
        name.removeprefix("step "): found
        for name, found in result["sections"].items()
        if name.startswith("step ") and "phases" in found
    }
    lines = []
    if steps:
        lines = [
            "| phase | " + " | ".join(f"{name}: s | peak MiB" for name in steps) + " |",
            "|---" * (1 + 2 * len(steps)) + "|",
        ]
        for phase in next(iter(steps.values()))["phases"]:
            cells = [
                f"{found['phases'][phase]:.3f} | {found['peak_mib'].get(phase, '')}"
                for found in steps.values()
            ]
            lines.append(f"| {phase} | " + " | ".join(cells) + " |")
        sums = [
            f"{found['step_s']:.3f} | {found['reserved_mib'] or ''}" for found in steps.values()
        ]
        lines.append("| step, memory held | " + " | ".join(sums) + " |")
    words = {True: "pass", False: "FAIL", None: "not measured"}
    lines += [f"{name}: {words[value]}" for name, value in result["checks"].items()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
