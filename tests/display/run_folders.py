"""Run folders of the documented form, filled with invented numbers and invented reports."""

import json
import math
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.reports.chexpert import FINDINGS
from tests.builders import write_set

DIRECTIONS = {"text/repeated-sentences": "lower", "text/words": "neither"}
COMPONENTS = ("rules/report-micro-f1-14", "entity_f1/partial@rules", "entity_similarity@rules")
RULES = ("mislabelled", "replacement", "deletion", "augmentation", "none")

NORMAL = (
    "The heart is of normal size.",
    "The lungs are clear on both sides.",
    "There is no pleural fluid.",
    "No air is seen in the pleural space.",
    "The ribs are intact.",
)
ABNORMAL = (
    "The heart is moderately enlarged.",
    "A patchy shadow lies in the right lower lobe.",
    "A small amount of fluid blunts the left angle.",
    "A thin rim of air lies above the right lung.",
    "An old break of the left sixth rib has healed.",
)
ENTITIES = ("heart enlarged", "shadow", "fluid", "air", "break")

# What must never reach the page as markup.
HOSTILE = "<script>window.broken = true</script> & <img src=x onerror=alert(1)>"


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_studies_folder(folder: Path, count: int, site: str, seed: int = 0) -> None:
    """Write studies with two views, every third with a prior image."""
    rng = random.Random(seed)
    studies: list[Study] = []
    films: dict[str, Image.Image] = {}
    for number in range(count):
        findings = reference_of(number)
        views = [(View.PA, Timepoint.CURRENT), (View.LATERAL, Timepoint.CURRENT)]
        if number % 3 == 0:
            views.append((View.AP, Timepoint.PRIOR))
        images = []
        for view, timepoint in views:
            name = f"{site}-{number:03d}-{view}-{timepoint}"
            films[name] = _radiograph(rng, view, large_heart=ABNORMAL[0] in findings)
            images.append(StudyImage(image_id=name, view=view, timepoint=timepoint))
        studies.append(
            Study(
                study_id=f"{site}-{number:03d}",
                patient_id=f"{site}-p{number:03d}",
                split=Split.TEST if number % 4 == 0 else Split.TRAIN,
                images=tuple(images),
                indication="Cough for two weeks.",
                technique="PA and lateral views.",
                comparison="Earlier film." if number % 3 == 0 else "",
                findings=" ".join(findings),
            )
        )
    write_set(folder, studies, films, budget=PixelBudget(min_pixels=50_000, max_pixels=70_000))


def _radiograph(rng: random.Random, view: View, *, large_heart: bool) -> Image.Image:
    image = Image.new("L", (256, 256), 25)
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 10, 236, 300), fill=150)
    shift = rng.randint(-4, 4)
    if view is View.LATERAL:
        draw.ellipse((60 + shift, 50, 200 + shift, 220), fill=55)
    else:
        draw.ellipse((45 + shift, 45, 118 + shift, 225), fill=50)
        draw.ellipse((138 + shift, 45, 211 + shift, 225), fill=50)
    width = 56 if large_heart else 36
    draw.ellipse((128 - width // 2, 130, 128 + width, 225), fill=185)
    return image.filter(ImageFilter.GaussianBlur(5))


def reference_of(number: int) -> list[str]:
    """Return the reference sentences of a study; odd studies have one or two findings."""
    sentences = list(NORMAL)
    if number % 2:
        sentences[number % 5] = ABNORMAL[number % 5]
    if number % 6 == 5:
        sentences[(number + 2) % 5] = ABNORMAL[(number + 2) % 5]
    return sentences


def write_sft_run(folder: Path, *, studies: str, steps: int = 120, floor: float = 0.8) -> None:
    rng = random.Random(1)
    rows: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        loss = floor + 2.4 * math.exp(-step / (steps / 5)) + rng.gauss(0, 0.05)
        rows.append({"step": step, "epoch": 3 * step / steps, "loss": loss, "learning_rate": 1e-4,
                     "grad_norm": 1.0 + rng.random()})  # fmt: skip
        if step % (steps // 3) == 0:
            epoch = 3 * step // steps
            row = {"epoch": epoch, "validation/loss": loss + 0.1 * epoch}
            row["validation/reward/total"] = 1.1 + 0.1 * epoch
            rows.append(
                row | {f"validation/reward/{name}": 0.3 + 0.03 * epoch for name in COMPONENTS}
            )
    write_lines(folder / "metrics.jsonl", rows)
    write_lines(folder / "timings.jsonl", [{"step": s, "seconds/step": 0.4} for s in range(1, 5)])
    _describe(folder, studies)


def write_rl_run(
    folder: Path, *, studies: str, edits: bool, gain: float, steps: int = 80, groups: int = 2
) -> None:
    rng = random.Random(len(folder.name))
    metrics = [_rl_metrics(rng, step, steps, gain, edits=edits) for step in range(1, steps + 1)]
    write_lines(folder / "metrics.jsonl", metrics)
    phases = {"rollout": 2.0, "edit": 0.1 * edits, "score": 0.4, "reference": 0.6, "update": 1.8}
    timings = [
        {
            "step": step,
            "seconds/vision": 0.2,
            **{f"seconds/{k}": v * rng.uniform(0.9, 1.1) for k, v in phases.items()},
        }
        for step in range(1, steps + 1)
    ]
    write_lines(folder / "timings.jsonl", timings)
    rollouts = [
        row
        for step in range(1, steps + 1, 10)
        # Study 7, with the hostile text, is always among those of the first step.
        for number in ([7] if step == 1 else []) + rng.sample(range(8, 24), groups)
        for row in _group(rng, step, number, edits=edits)
    ]
    write_lines(folder / "rollouts.jsonl", rollouts)
    _describe(folder, studies)


def _rl_metrics(
    rng: random.Random, step: int, steps: int, gain: float, *, edits: bool
) -> dict[str, float]:
    done = 1 - math.exp(-2.5 * step / steps)
    sampled = 1.2 + gain * done + rng.gauss(0, 0.06)
    lead = 0.35 * (1 - 0.6 * done) if edits else 0.0
    shares = [0.25 - 0.15 * done, 0.2 - 0.1 * done, 0.15 - 0.05 * done, 0.2 - 0.05 * done]
    row = {
        "step": step,
        "loss": rng.gauss(0, 0.01),
        "grad_norm": 0.8 + 0.3 * rng.random(),
        "learning_rate": 1e-5,
        "reward/all/mean": sampled + lead / 2,
        "reward/sampled/mean": sampled,
        "reward/sampled/se": 0.07,
    }
    row |= {f"reward/sampled/{name}": sampled / 3 + 0.05 * i for i, name in enumerate(COMPONENTS)}
    if edits:
        row["reward/edited/mean"] = sampled + lead
        row |= {f"reward/edited/{name}": (sampled + lead) / 3 for name in COMPONENTS}
        row |= {f"edits/{rule}": share for rule, share in zip(RULES, shares, strict=False)}
        row["edits/none"] = 1 - sum(shares)
        row |= {f"edit_gain/{r}": 0.3 - 0.08 * i + rng.gauss(0, 0.03) for i, r in enumerate(RULES)}
        row |= {"edits/raised": 0.86 + 0.05 * done, "edits/unused": 0.01}
        row |= {"advantage/edited/mean": lead / 2}
    return row | {
        "advantage/sampled/mean": -lead / 2,
        "advantage/std": 0.3 - 0.1 * done,
        "kl": 0.02 * done + 0.001 * rng.random(),
        "clip_share": 0.0,
        "entropy": 0.9 - 0.3 * done + rng.gauss(0, 0.02),
        "length/sampled/mean": 48 + 4 * done + rng.gauss(0, 1),
        "length/edited/mean": 50 + 3 * done + rng.gauss(0, 1),
        "truncated_share": max(0.0, 0.05 - 0.06 * done),
        "zero_advantage_groups": 0.3 * (1 - done),
        "errors/dropped_groups": 0,
    }


def _reward(value: float) -> dict[str, float]:
    return {"total": value} | dict.fromkeys(COMPONENTS, value / 3)


def _group(rng: random.Random, step: int, number: int, *, edits: bool) -> list[dict[str, Any]]:
    """Return the best (edited where there are edits) and the worst (sampled) of a group."""
    reference = reference_of(number)
    common = {"step": step, "study_id": f"a-{number:03d}", "reference": " ".join(reference)}
    source = list(reference)
    at = number % 5
    source[at] = ABNORMAL[at] if source[at] == NORMAL[at] else NORMAL[at]
    if number == 7:
        source.append(HOSTILE)
    worst = common | {
        "rank": "worst",
        "kind": "sampled",
        "index": 3,
        "report": " ".join(source),
        "reward": _reward(1.1),
        "advantage": -0.31,
        "edit": None,
    }
    best = worst | {"rank": "best", "index": 1, "reward": _reward(1.9), "advantage": 0.42}
    if edits:
        best |= {"kind": "edited", **_edited(RULES[rng.randrange(5)], source, reference, at)}
    return [worst, best]


def _edited(rule: str, source: list[str], reference: list[str], at: int) -> dict[str, Any]:
    after, removed, inserted = list(source), [], []
    if rule in ("mislabelled", "replacement", "deletion"):
        removed = [{"position": at, "text": after.pop(at)}]
    if rule in ("mislabelled", "replacement"):
        after.insert(at, reference[at])
        inserted = [{"position": at, "text": reference[at]}]
    if rule == "augmentation":
        source = [one for i, one in enumerate(source) if i != at]
        after = [*source, reference[at]]
        inserted = [{"position": len(source), "text": reference[at]}]
    entities = [] if rule == "none" else [{"text": ENTITIES[at], "type": "ABNORMALITY"}]
    edit = {
        "rule": rule,
        "source_report": " ".join(source),
        "source_reward": _reward(1.4 if rule != "none" else 1.9),
        "removed": removed,
        "inserted": inserted,
        "entities": entities,
    }
    return {"report": " ".join(after), "edit": edit}


def write_evaluation(folder: Path, name: str, *, system: str, quality: float) -> None:
    rng = random.Random(f"{system}{name}")
    target = folder / "evaluation" / name
    values = {
        "average/clinical@rules": quality - 0.05,
        "rules/micro-f1-14": quality,
        "rules/macro-f1-14": quality - 0.18,
        "rules/micro-f1-5": quality + 0.03,
        "reward/total@rules": 3 * quality,
        "entity_f1/partial@rules": quality - 0.2,
        "entity_similarity@rules": quality + 0.06,
        "text/rouge-l": quality - 0.22,
        "text/repeated-sentences": 0.02,
        "text/words": 52.0 + 10 * quality,
    }
    metrics = {
        key: {
            "value": value,
            "low": value * 0.93,
            "high": value * 1.07,
            "direction": DIRECTIONS.get(key, "higher"),
        }
        for key, value in values.items()
    }
    support = [4, 60, 41, 6, 18, 22, 15, 33, 5, 48, 0, 9, 55, 210]
    findings = {
        finding: {
            "f1": 0.0 if n == 0 else min(0.97, max(0.0, quality * n**0.12 + rng.gauss(-0.2, 0.05))),
            "precision": 0.6,
            "recall": 0.5,
            "support": n,
            "predicted": n,
        }
        for finding, n in zip(FINDINGS, support, strict=True)
    }
    scores = {
        "system": system,
        "predictions": "predictions.jsonl",
        "n_studies": 400,
        "n_seeds": 1,
        "rare_findings": ["Pneumothorax", "Fracture", "Lung Lesion"],
        "seed": 0,
        "bootstrap_samples": 2000,
        "confidence": 0.95,
        "metrics": metrics,
        "per_finding": findings,
        "command": f"editgrpo evaluate {name}",
        "commit": "0123456789abcdef0123-dirty",
    }
    target.mkdir(parents=True)
    (target / "scores.json").write_text(json.dumps(scores))
    site = name.rpartition("-")[2]
    predictions, per_study = [], []
    for number in range(0, 24, 4):
        study, reference = f"{site}-{number:03d}", reference_of(number)
        wrong = list(reference)
        if rng.random() > quality:
            wrong[number % 5] = ABNORMAL[number % 5]
        row = {"study_id": study, "prediction": " ".join(wrong), "reference": " ".join(reference)}
        predictions.append(row)
        per_study.append({"study_id": study} | dict.fromkeys(COMPONENTS, quality))
    write_lines(target / "predictions.jsonl", predictions)
    write_lines(target / "per_study.jsonl", per_study)


def write_comparison(folder: Path, name: str, a: str, b: str) -> None:
    metrics = {
        "rules/micro-f1-14": {"difference": 0.041, "low": 0.012, "high": 0.07, "p": 0.006}
        | {"direction": "higher"},
        "entity_f1/partial@rules": {"difference": -0.012, "low": -0.03, "high": 0.004, "p": 0.12},
    }
    comparison = {"a": a, "b": b, "n_studies": 400, "metrics": metrics}
    (folder / "evaluation" / name / "comparison.json").write_text(json.dumps(comparison))


def _describe(folder: Path, studies: str) -> None:
    (folder / "config.yaml").write_text(
        f"data:\n  folder: {studies}\n  max_images: 6\nsteps: 80\nseed: 0\nnote: {HOSTILE!r}\n"
    )
    provenance = {
        "editgrpo": "0.1.0",
        "git": {"commit": "0123456789abcdef0123", "dirty": False},
        "versions": {"torch": "2.11.0", "trl": "1.16.0"},
        "seed": 0,
        "command": f"editgrpo train {folder.name}",
        "started": "2026-01-05T10:00:00Z",
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))


def write_demo(folder: Path, *, steps: int = 80) -> list[Path]:
    """Write four runs, two folders of studies and two evaluations, as the demo leaves them."""
    for number, site in enumerate("ab"):
        write_studies_folder(folder / "studies" / f"site-{site}", 24, site, seed=number)
    studies = "studies/site-a"
    write_sft_run(folder / "sft", studies=studies)
    write_sft_run(folder / "sft-continued", studies=studies, floor=0.7)
    write_rl_run(folder / "dr-grpo", studies=studies, edits=False, gain=0.4, steps=steps)
    write_rl_run(folder / "editgrpo", studies=studies, edits=True, gain=0.6, steps=steps)
    qualities = {"sft": 0.5, "sft-continued": 0.52, "dr-grpo": 0.55, "editgrpo": 0.6}
    for system, quality in qualities.items():
        write_evaluation(folder / system, "site-a", system=system, quality=quality)
        write_evaluation(folder / system, "site-b", system=system, quality=quality - 0.12)
    write_comparison(folder / "editgrpo", "site-a", "editgrpo", "sft")
    write_comparison(folder / "editgrpo", "site-b", "editgrpo", "dr-grpo")
    return [folder / system for system in qualities]
