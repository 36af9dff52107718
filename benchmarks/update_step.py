"""Measure one update, packed groups against the separate rows of stock TRL.

    .venv/bin/python -m benchmarks.update_step [--family NAME] [--quick] [--only PART ...]
        [--json FILE]

One group: a prompt with three images and G responses. An update is the pass of the reference policy
and the policy's forward and backward pass, without the optimiser's step, which is the same on both
sides. Both sides have the same weights, group, advantages and number of threads, compute in float32
and keep all activations (no gradient checkpointing). Each measurement has a process of its own, the
sides alternate, and their losses, log-probabilities and gradients must agree.

- `trainable`, `frozen`: 540 prompt and 60 answer tokens, G = 10, the vision tower trained or not.
  Goals: 6 and 5 times as fast, with a third of the memory that an update adds to that of weights
  and optimiser.
- `prompts`: the ratio while 600 tokens are shared out between prompt and answer from 1:1 to 20:1.
- `groups`: the ratio for G from 4 to 16.
- `kernels`: one packed pass with each attention kernel, and with the package `prefix_grouper` where
  it is installed.

With a frozen tower our side takes the image features from the store, as an update does in a run:
the rollout has computed them. `vision_s` is what that took once. TRL's head scores the prompts too
when it runs on a CPU; `ratio_without_head_of_prompts` is the ratio if that took no time. The last
line printed is one JSON object.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.children import measured_by_child
from benchmarks.families import FAMILIES, QWEN2_5_VL
from benchmarks.workload import (
    PROMPT,
    RESPONSE,
    Case,
    describe,
    environment,
    model_of,
    prepare,
)

GOALS = {"update_trainable": 6.0, "update_frozen": 5.0}
MEMORY_GOAL = 1 / 3
PARTS = ("trainable", "frozen", "prompts", "groups", "kernels")
PROMPT_SHARES = (1, 2, 5, 9, 20)
GROUPS = (4, 8, 10, 16)
# Largest difference of log-probabilities in nats, of the loss, and of gradients as a share of the
# largest one.
TOLERANCE = 1e-4
_CHILD = "benchmarks.update_measure"
_SIDES = ("stock", "ours")


def main() -> None:
    """Measure all parts in other processes, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, default=QWEN2_5_VL)
    parser.add_argument("--quick", action="store_true", help="one repeat, ends of the sweeps only")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result here, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="editgrpo-update-") as temporary:
        folder = Path(temporary)
        prepare(
            folder, studies=12, family=arguments.family
        )  # as in `train_step`: their words decide the vocabulary
        bench = Bench(folder, repeats=1 if arguments.quick else arguments.repeats)
        parts: dict[str, Any] = {}
        for name in arguments.only:
            parts[name] = bench.part(name, quick=arguments.quick)
            result = {"model": model_of(folder), **parts, **verdict(parts), **environment()}
            if arguments.json is not None:  # after each part: all of them take half an hour
                text = json.dumps(result, indent=1) + "\n"
                arguments.json.write_text(text, encoding="utf-8")
    print(json.dumps(result))


class Bench:
    """Runs the measurements of this script in other processes.

    Args:
        folder: What `prepare` wrote.
        repeats: How often the sides take turns.
    """

    def __init__(self, folder: Path, *, repeats: int) -> None:
        self._folder = folder
        self._repeats = repeats

    def part(self, name: str, *, quick: bool) -> Any:
        """Measure one of `PARTS`.

        Args:
            name: Which.
            quick: Leave out the middle of a sweep.
        """
        if name in ("trainable", "frozen"):
            return self.compare(Case(is_tower_frozen=name == "frozen"), rounds=self._repeats)
        if name == "kernels":
            return self._child("kernels", Case(), repeats=self._repeats)
        cases = list(prompt_cases() if name == "prompts" else group_cases())
        if quick:
            cases = [cases[0], cases[-1]]
        return [self.compare(case, rounds=1, repeats=self._repeats) for case in cases]

    def compare(self, case: Case, *, rounds: int, repeats: int = 1) -> dict[str, Any]:
        """Measure both sides of a case.

        Args:
            case: The group.
            rounds: How often each side is measured, in a process of its own each time.
            repeats: How often each process repeats the update after its warm-up.
        """
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in _SIDES}
        agreement: dict[str, float] = {}
        for number in range(rounds):
            for side in _SIDES if number % 2 == 0 else _SIDES[::-1]:
                found[side].append(self._child(side, case, repeats=repeats))
            agreement = agreement or agree(*(self._record(side) for side in _SIDES))
        compared = {
            "case": describe(case),
            **{side: summary(found[side]) for side in _SIDES},
            "agreement": agreement,
        }
        compared |= ratios(compared["stock"], compared["ours"])
        print(line(compared), file=sys.stderr, flush=True)
        return compared

    def _child(self, what: str, case: Case, *, repeats: int) -> dict[str, Any]:
        case_text = json.dumps(asdict(case))
        words = [what, case_text, self._folder, repeats, self._record(what)]
        return measured_by_child(_CHILD, *map(str, words))

    def _record(self, side: str) -> Path:
        return self._folder / f"record-{side}.pt"


def prompt_cases() -> Iterator[Case]:
    """Share the same number of tokens out between prompt and answer in several ways."""
    for is_frozen in (False, True):
        for share in PROMPT_SHARES:
            answer = round((PROMPT + RESPONSE) / (share + 1))
            prompt = PROMPT + RESPONSE - answer
            yield Case(prompt=prompt, response=answer, is_tower_frozen=is_frozen)


def group_cases() -> Iterator[Case]:
    """Take groups of several sizes."""
    for is_frozen in (False, True):
        for size in GROUPS:
            yield Case(group=size, is_tower_frozen=is_frozen)


def agree(stock: Path, ours: Path) -> dict[str, float]:
    """Compare what the sides computed, and end the benchmark if it differs.

    Args:
        stock: Record of a stock update.
        ours: Record of ours.

    Returns:
        The largest differences: of log-probabilities under policy and reference in nats, of the
        loss, and of gradients as a share of the largest one.
    """
    theirs, mine = torch.load(stock), torch.load(ours)
    largest = max(float(value.abs().max()) for value in theirs["gradients"].values())
    differences = {
        name: float((theirs[name] - mine[name]).abs().max())
        for name in ("log_probs", "reference_log_probs", "loss")
    }
    differences["gradients"] = max(
        float((value - mine["gradients"][name]).abs().max()) / largest
        for name, value in theirs["gradients"].items()
    )
    if theirs["gradients"].keys() != mine["gradients"].keys() or not largest > 0:
        sys.exit("the sides do not train the same parameters")
    if not max(differences.values()) <= TOLERANCE:
        sys.exit(f"the sides differ by more than {TOLERANCE}: {differences}")
    return {name: float(f"{value:.2g}") for name, value in differences.items()}


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the measurements of one side's processes together: medians, and all seconds of it."""
    seconds = [one for child in found for one in child["updates"]]
    together: dict[str, Any] = {
        name: round(median(one[name] for one in seconds), 3)
        for name in ("update_s", "reference_s", "policy_s")
    }
    together["all_update_s"] = [round(one["update_s"], 3) for one in seconds]
    for name in ("before_mib", "peak_mib", "growth_mib"):
        together[name] = median(child[name] for child in found)
    for name in ("head_of_prompts_s", "vision_s"):
        if name in found[0]:
            together[name] = round(median(child[name] for child in found), 3)
    return together


def ratios(stock: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Compare the summaries of the two sides.

    Args:
        stock: Of stock TRL; `head_of_prompts_s` is what its head takes for prompts.
        ours: Of ours.

    Returns:
        The ratio of median seconds and its lowest and highest value over all pairs; the ratio
        without the stock head's work on prompts; ours to stock in memory that the update adds.
    """
    times = [one / other for one in stock["all_update_s"] for other in ours["all_update_s"]]
    return {
        "ratio": round(stock["update_s"] / ours["update_s"], 2),
        "ratio_lowest": round(min(times), 2),
        "ratio_highest": round(max(times), 2),
        "ratio_without_head_of_prompts": round(
            (stock["update_s"] - stock["head_of_prompts_s"]) / ours["update_s"], 2
        ),
        "memory": round(ours["growth_mib"] / stock["growth_mib"], 3),
    }


def verdict(parts: dict[str, Any]) -> dict[str, Any]:
    """Say which ratios came out, and whether they and the memory are within the goals."""
    measured = {f"update_{name}": parts[name] for name in ("trainable", "frozen") if name in parts}
    return {
        "ratios": {name: one["ratio"] for name, one in measured.items()},
        "memory": {name: one["memory"] for name, one in measured.items()},
        "goals": GOALS,
        "memory_goal": round(MEMORY_GOAL, 3),
        "within_goals": all(
            one["ratio"] >= GOALS[name] and one["memory"] <= MEMORY_GOAL
            for name, one in measured.items()
        ),
    }


def line(compared: dict[str, Any]) -> str:
    """Say in one line what came out of a case."""
    case, stock, ours = compared["case"], compared["stock"], compared["ours"]
    tower = "frozen" if case["is_tower_frozen"] else "trainable"
    return (
        f"{tower:9} prompt {case['prompt']:3}, answer {case['response']:3}, G {case['group']:2}: "
        f"stock {stock['update_s']:6.2f} s, +{stock['growth_mib']:.0f} MiB; "
        f"ours {ours['update_s']:5.2f} s, +{ours['growth_mib']:.0f} MiB; "
        f"{compared['ratio']:.2f} times as fast (ideal {case['ideal']:.2f})"
    )


if __name__ == "__main__":
    main()
