"""Our side of `scoring.py`, in a process of its own.

Times what a training step does with its rollouts, in the order in which it does it: annotate
rollouts and references, edit each rollout, score both versions. Reads one JSON object on standard
input, writes one as the last line of standard output.
"""

import json
import random
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.memory import peak_gpu_memory_mib, peak_memory_mib
from benchmarks.scoring_workload import ROLLOUTS
from editgrpo.config import ClinicalConfig
from editgrpo.edits import Edit, edit_report
from editgrpo.metrics.ratescore import EntityTable, entity_table
from editgrpo.reports import AnnotatedReport, load_annotator, load_labeler
from editgrpo.rewards import load_component
from editgrpo.rewards.composite import CompositeReward

# RadEval's RaTEScore is that of 0.6.0; the paper's 0.5.0 differs from it by a constant.
COMPONENTS = {
    "rate": "ratescore@0.6.0-long",
    "radgraph": "radgraph/partial@radgraph-xl",
    "chexbert": "chexbert/report-micro-f1-14",
}

ROUNDING = 1e-5  # of a cosine, between batches of one report and of many


def main() -> None:
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    config = ClinicalConfig(**request["clinical"])
    rewards = {name: load_reward(component, config) for name, component in COMPONENTS.items()}
    annotator = load_annotator("rate", config)
    if request["fill_store"]:
        annotator.annotate(request["references"])
        for reward in rewards.values():
            reward.score(request["references"], request["references"])
        print(json.dumps({}))
        return
    warm_up = request["warm_up"]
    annotator.annotate(warm_up)
    for reward in rewards.values():
        reward.score(warm_up, warm_up[::-1])
    print(json.dumps(measure(request, config, rewards)))


def load_reward(component: str, config: ClinicalConfig) -> CompositeReward:
    """Load a component with the memory that it has in training."""
    return CompositeReward(component, [load_component(component, config)], weights={component: 1.0})


def measure(
    request: dict[str, Any], config: ClinicalConfig, rewards: dict[str, CompositeReward]
) -> dict[str, Any]:
    """Edit and score everything once; return times, values and the edited reports."""
    seconds, values = {}, {}
    annotator = load_annotator("rate", config)
    clock = time.perf_counter()
    references = annotator.annotate(request["references"])
    rollouts = annotator.annotate([text for group in request["rollouts"] for text in group])
    edits = edit_all(rollouts, references)
    seconds["edit"] = time.perf_counter() - clock
    edited = [edit.report.text for edit in edits]
    candidates, reference_texts = pairs(request, edited)
    for name, reward in rewards.items():
        clock = time.perf_counter()
        values[name] = reward.score(candidates, reference_texts).total.tolist()
        seconds[name] = time.perf_counter() - clock
    seconds["rate"] += seconds["edit"]
    answer = {
        "seconds": seconds,
        "candidates": candidates,
        "references": reference_texts,
        "peak_memory_mib": peak_memory_mib(),
        "peak_gpu_memory_mib": peak_gpu_memory_mib(),
        "versions": {name: version(name) for name in ("editgrpo", "torch", "transformers")},
    }
    # Not timed: what RadEval's numbers are held to, and what a reader needs to judge the times.
    values["chexbert"] = label_accuracy(config, candidates, reference_texts)
    check = candidates[ROLLOUTS :: 2 * ROLLOUTS], candidates[:: 2 * ROLLOUTS]
    is_open = {
        "values": decided_by_rounding(config, candidates, reference_texts),
        "checks": decided_by_rounding(config, *check),
    }
    checks = {name: reward.score(*check).total.tolist() for name, reward in rewards.items()}
    checks["chexbert"] = label_accuracy(config, *check)
    setting = describe(request, config, rollouts, edits)
    return {
        **answer,
        "values": values,
        "check": check,
        "checks": checks,
        "is_open": is_open,
        "setting": setting,
    }


def decided_by_rounding(
    config: ClinicalConfig, candidates: Sequence[str], references: Sequence[str]
) -> list[bool]:
    """Tell for which pairs RaTEScore is a matter of rounding (docs/metrics.md).

    An entity may be equally near to several entities of different types, for one because they are
    the same words; which of them counts, and so the score, is decided by the last bit.
    """
    annotator = load_annotator("rate", config)
    is_open = []
    for of_pair in zip(annotator.annotate(candidates), annotator.annotate(references), strict=True):
        candidate, reference = map(entity_table, of_pair)
        is_open.append(has_tie(candidate, reference) or has_tie(reference, candidate))
    return is_open


def has_tie(looked_up: EntityTable, others: EntityTable) -> bool:
    """Tell whether the best match of an entity is not of one type."""
    if not len(looked_up.type_E) or not len(others.type_E):
        return False
    cosine_LO = looked_up.unit_ED @ others.unit_ED.T
    is_best_LO = cosine_LO >= cosine_LO.max(axis=1, keepdims=True) - ROUNDING
    types = np.where(is_best_LO, others.type_E, -1)
    return bool(((types != types.max(axis=1, keepdims=True)) & is_best_LO).any())


def label_accuracy(
    config: ClinicalConfig, candidates: Sequence[str], references: Sequence[str]
) -> list[float]:
    """Return the share of equal labels of each pair, which is what RadEval gives for a report."""
    labeler = load_labeler("chexbert", config)
    same = labeler.label(candidates) == labeler.label(references)
    accuracy: list[float] = same.mean(axis=1).tolist()
    return accuracy


def edit_all(
    rollouts: Sequence[AnnotatedReport], references: Sequence[AnnotatedReport]
) -> list[Edit]:
    """Edit each rollout against its reference."""
    each = len(rollouts) // len(references)
    return [
        edit_report(rollout, references[index // each], rng=random.Random(index))
        for index, rollout in enumerate(rollouts)
    ]


def pairs(request: dict[str, Any], edited: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return candidates and references: for each reference its rollouts, then their versions."""
    candidates, references = [], []
    remaining = iter(edited)
    for reference, rollouts in zip(request["references"], request["rollouts"], strict=True):
        group = [*rollouts, *(next(remaining) for _ in rollouts)]
        candidates += group
        references += [reference] * len(group)
    return candidates, references


def describe(
    request: dict[str, Any],
    config: ClinicalConfig,
    rollouts: Sequence[AnnotatedReport],
    edits: Sequence[Edit],
) -> dict[str, Any]:
    """Return how much the random models find, and how many edits that makes."""
    from editgrpo.clinical.weights import ClinicalModel
    from editgrpo.reports.radgraph.extractor import load_extractor

    texts = [text for group in request["rollouts"] for text in group]
    words = sum(len(text.split()) for text in texts)
    graphs = load_extractor(config, ClinicalModel.RADGRAPH_XL).extract(texts)
    entities = [entity for graph in graphs for entity in graph.entities]
    relations = sum(len(entity.relations) for entity in entities)
    labels = load_labeler("chexbert", config).label(texts)
    return {
        "rate_entities_per_word": round(sum(len(r.entities) for r in rollouts) / words, 3),
        "radgraph_entities_per_word": round(len(entities) / words, 3),
        "radgraph_relations_per_entity": round(relations / max(1, len(entities)), 3),
        "chexbert_labels_per_report": round(float(labels.sum()) / len(texts), 2),
        "edits_by_rule": {
            rule: sum(edit.rule == rule for edit in edits)
            for rule in sorted({edit.rule.value for edit in edits})
        },
    }


if __name__ == "__main__":
    main()
