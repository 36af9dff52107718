"""Time the paper's reward and edits against RadEval's reward functions, side by side.

    make parity-environment && .venv/bin/python benchmarks/scoring.py [--size tiny] [--repeats 3]

Both sides score the same 320 pairs (32 references, for each 5 rollouts and their 5 edited versions)
with the same random checkpoints of the published models' shapes, each side in a process of its own,
with the same number of threads, models loaded and warmed up before the clock starts. What is timed:

- rate: ours annotates rollouts and references, edits each rollout and gives every pair its
  RaTEScore; RadEval, which has no edit, gives every pair its RaTEScore;
- radgraph, chexbert: every pair's score;
- paper: the sum of the three.

Ours begins with the references' annotations on disk, as in training (`ratios`), and once more
without (`ratios_cold`); rollouts are never known before. Values of both sides must agree to 1e-4.
The reference side needs the environment of `make parity`. A table is printed, then, as the last
line, one JSON object.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.checkpoints import Size

from benchmarks.scoring_workload import (
    REFERENCES,
    Workload,
    build_checkpoints,
    lay_out_for_radeval,
    load_workload,
)

REPOSITORY = Path(__file__).resolve().parents[1]
PARITY = REPOSITORY / ".venv-parity"
NAMES = ("rate", "radgraph", "chexbert")
TOLERANCE = 1e-4
TIMEOUT_S = 3600


def main() -> None:
    arguments = parse_arguments()
    workload = load_workload(
        arguments.reports, seed=arguments.seed, references=arguments.references
    )
    with tempfile.TemporaryDirectory(prefix="editgrpo-scoring-") as folder:
        models = arguments.checkpoints or Path(folder) / "models"
        if not models.is_dir():
            log(f"building random checkpoints of the {arguments.size} size")
            build_checkpoints(models, size=arguments.size, texts=workload.all_reports)
        sides = run_sides(arguments, workload, models.resolve(), Path(folder))
    result = summarise(sides)
    result["device"] = device_name(arguments.device)
    result["setting"] |= {
        "size": arguments.size.value,
        "threads": arguments.threads,
        "repeats": arguments.repeats,
        "weights": "random",
        **workload.describe(),
    }
    print(markdown(result))
    print(json.dumps(result))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = REPOSITORY.parent / "shared" / "data" / "iu_xray"
    parser.add_argument("--reports", type=Path, default=default, help="CSV with `findings`")
    parser.add_argument("--size", type=Size, choices=list(Size), default=Size.TRUE)
    parser.add_argument("--checkpoints", type=Path, help="folder to keep the checkpoints in")
    parser.add_argument("--references", type=int, default=REFERENCES)
    parser.add_argument("--repeats", type=int, default=1, help="processes a side; medians count")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def run_sides(
    arguments: argparse.Namespace, workload: Workload, models: Path, folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """Run ours with and without a store, then RadEval on the pairs that ours made.

    Returns:
        `ours`, `ours_cold` and `radeval`, each with the answers of its repeats.
    """
    store = {"store": str(folder / "store")}
    clinical = {"models": str(models), "offline": True, "device": arguments.device}
    common = {"threads": arguments.threads, "warm_up": workload.warm_up}
    texts = {"references": workload.references, "rollouts": workload.rollouts}
    ask_ours(
        {
            **common,
            **texts,
            "fill_store": True,
            "clinical": clinical | store | {"store_writes": True},
        },
        arguments,
    )
    sides: dict[str, list[dict[str, Any]]] = {"ours": [], "ours_cold": [], "radeval": []}
    for _ in range(arguments.repeats):
        for side, settings in (("ours", clinical | store), ("ours_cold", clinical)):
            request = {**common, **texts, "fill_store": False, "clinical": settings}
            sides[side].append(ask_ours(request, arguments))
    pairs = {name: sides["ours"][0][name] for name in ("candidates", "references", "check")}
    environment = lay_out_for_radeval(models, folder / "radeval")
    for _ in range(arguments.repeats):
        sides["radeval"].append(ask_radeval({**common, **pairs}, arguments, environment))
    return sides


def ask_ours(request: Mapping[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    return ask(sys.executable, "scoring_ours.py", request, arguments, {})


def ask_radeval(
    request: Mapping[str, Any], arguments: argparse.Namespace, environment: Mapping[str, str]
) -> dict[str, Any]:
    python = os.environ.get("EDITGRPO_ORACLE_PYTHON", str(PARITY / "bin" / "python"))
    package = os.environ.get("EDITGRPO_ORACLE_RADEVAL", str(PARITY / "oracles" / "radeval"))
    if not (Path(python).exists() and Path(package).is_dir()):
        sys.exit(f"no RadEval at {package}; build its environment: make parity-environment")
    environment = {**environment, "PYTHONPATH": package}
    return ask(python, "scoring_radeval.py", request, arguments, environment)


def ask(
    python: str,
    script: str,
    request: Mapping[str, Any],
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """Run a side in a process of its own and return its answer; end with its error."""
    threads = str(arguments.threads)
    settings = {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "RAYON_NUM_THREADS": threads,  # the tokenizers'
        **({"CUDA_VISIBLE_DEVICES": ""} if arguments.device == "cpu" else {}),
    }
    log(f"running {script}")
    process = subprocess.run(
        [python, str(REPOSITORY / "benchmarks" / script)],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, **settings, **environment},
        timeout=TIMEOUT_S,
        check=False,
    )
    if process.returncode:
        sys.exit(f"{script} ended with {process.returncode}")
    answer: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return answer


def summarise(sides: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return ratios, seconds, memory and agreement of all repeats.

    Args:
        sides: `ours`, `ours_cold` and `radeval`, each with one answer a repeat.

    Returns:
        The result; seconds are medians over the repeats.
    """
    seconds = {side: median_seconds(answers) for side, answers in sides.items()}
    memory = {
        side: max(answer["peak_memory_mib"] for answer in answers)
        for side, answers in sides.items()
    }
    gpu = {side: answers[0]["peak_gpu_memory_mib"] for side, answers in sides.items()}
    result: dict[str, Any] = {
        "ratios": ratios(seconds["ours"], seconds["radeval"]),
        "ratios_cold": ratios(seconds["ours_cold"], seconds["radeval"]),
        "seconds": seconds,
        "peak_memory_mib": memory,
        "agreement": agreement(sides),
        "mean_value": mean_values(sides["radeval"][0]),
        "versions": {
            "python": platform.python_version(),
            **{f"ours_{k}": v for k, v in sides["ours"][0]["versions"].items()},
            **{f"reference_{k}": v for k, v in sides["radeval"][0]["versions"].items()},
        },
        "setting": dict(sides["ours"][0]["setting"]),
    }
    if any(value is not None for value in gpu.values()):
        result["peak_gpu_memory_mib"] = gpu
    return result


def median_seconds(answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the median of each time; `paper` is the median of the sums."""
    seconds = {
        name: round(median(answer["seconds"][name] for answer in answers), 3)
        for name in answers[0]["seconds"]
    }
    sums = [sum(answer["seconds"][name] for name in NAMES) for answer in answers]
    return {**seconds, "paper": round(median(sums), 3)}


def ratios(ours: Mapping[str, float], reference: Mapping[str, float]) -> dict[str, float]:
    return {name: round(reference[name] / ours[name], 2) for name in (*NAMES, "paper")}


def agreement(sides: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Compare the values of both sides.

    The pairs are the timed ones and, since random models find little in common between different
    reports, one rollout of each reference beside its edited version.

    Returns:
        The largest difference of any pair's value by metric; for RaTEScore of the pairs whose value
        is not a matter of rounding, and the share of the others.

    Raises:
        AssertionError: a difference is above the tolerance.
    """
    reference = sides["radeval"][0]
    largest: dict[str, float] = {}
    is_open = [flag for flags in sides["ours"][0]["is_open"].values() for flag in flags]
    for name in NAMES:
        differences = [
            abs(a - b)
            for answer in (*sides["ours"], *sides["ours_cold"])
            for which in ("values", "checks")
            for a, b, skip in zip(
                answer[which][name],
                reference[which][name],
                answer["is_open"][which],
                strict=True,
            )
            if name != "rate" or not skip
        ]
        largest[name] = max(differences, default=0.0)
        wrong = sum(difference > TOLERANCE for difference in differences)
        assert not wrong, f"{name}: {wrong} of {len(differences)} values differ, by {largest[name]}"
    share = sum(is_open) / len(is_open)
    return {"largest_difference": largest, "rate_decided_by_rounding_share": round(share, 3)}


def mean_values(answer: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return by metric the mean value of the timed pairs and of the others."""
    return {
        name: [round(mean(answer[which][name]), 3) for which in ("values", "checks")]
        for name in NAMES
    }


def markdown(result: Mapping[str, Any]) -> str:
    """Return the table for RESULTS.md."""
    seconds, setting = result["seconds"], result["setting"]
    count = setting["pairs"]
    rows = [
        f"| {count} pairs, seconds | RadEval | ours | ratio | ours, no store | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name in (*NAMES, "paper"):
        reference, ours, cold = (seconds[side][name] for side in ("radeval", "ours", "ours_cold"))
        first, second = result["ratios"][name], result["ratios_cold"][name]
        rows.append(
            f"| {name} | {reference:.1f} | {ours:.1f} | {first:.1f} | {cold:.1f} | {second:.1f} |"
        )
    memory = result["peak_memory_mib"]
    rows.append(
        f"| peak memory, MiB | {memory['radeval']} | {memory['ours']} | | {memory['ours_cold']} | |"
    )
    return "\n".join(
        [*rows, f"\n{result['device']}, {setting['threads']} threads, {setting['reports']}.\n"]
    )


def device_name(device: str) -> str:
    """Return what ran the models, as a reader knows it."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor()} ({os.cpu_count()} cores)"


def log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
