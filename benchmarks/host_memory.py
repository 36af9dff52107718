"""Measure whether the memory of a training process grows with its steps.

    .venv/bin/python -m benchmarks.host_memory [--steps 500]

Runs the real trainer on a very small model, once with studies of one image and once with studies of
six (three of them of a prior study), each in a process of its own. After each step the resident
memory of the process is read; over the second half of the steps a line is fitted. Consecutive
readings depend on one another, so the interval comes from blocks of steps: growth is taken between
the means of neighbouring blocks, and its spread gives the interval.

What is known of report texts is remembered, up to a fixed number of texts. So that this is full
before the second half, the model hardly learns and samples the same few reports again and again.
transformers keeps the metrics of every step, some KiB each, and writes them into each checkpoint.
The claim: with one image a study as with six, the interval lies below 16 KiB a step, 16 MiB over a
run of 1,000 steps. If the images of a step stayed, six a study would add 55 KiB a step as pixels
and 440 KiB as patches. The last line printed is one JSON object.
"""

import argparse
import json
import math
import random
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.children import measured_by_child

LIMIT_KIB = 16.0
_BLOCKS = 10
# Student's t, 97.5 %, for one degree of freedom less than there are slopes between blocks.
_T_8 = 2.306
_IMAGES = (1, 6)
_STUDIES = 40
_SENTENCES = (
    "The heart is enlarged.",
    "There is a left pleural effusion.",
    "No pneumothorax.",
    "There is pulmonary edema.",
    "The lungs are clear.",
)


def main() -> None:
    """Measure in other processes and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--images", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.images is not None:
        print(json.dumps(measure(arguments.folder, arguments.images, arguments.steps)))
        return
    runs = []
    for images in _IMAGES:
        with tempfile.TemporaryDirectory(prefix="editgrpo-memory-") as folder:
            words = ("--folder", folder, "--images", str(images), "--steps", str(arguments.steps))
            runs.append(measured_by_child("benchmarks.host_memory", *words))
    print(f"{'images a study':>15}{'MiB, start':>12}{'middle':>10}{'end':>10}{'KiB a step':>14}")
    for run in runs:
        start, middle, end = run["resident_mib"]
        low, high = run["interval"]
        slope = f"{run['slope_kib_per_step']:.2f} [{low:.2f}, {high:.2f}]"
        print(f"{run['images_per_study']:>15}{start:>12}{middle:>10}{end:>10}  {slope}")
    from editgrpo.provenance import package_versions

    result = {**runs[-1], "with_one_image": runs[0], "versions": package_versions()}
    result["does_not_grow"] = all(run["interval"][1] <= LIMIT_KIB for run in runs)
    print(json.dumps(result))


def measure(folder: Path, images: int, steps: int) -> dict[str, Any]:
    """Train in this process and return the slope of its resident memory."""
    from editgrpo.training.train import run_training

    readings: list[int] = []
    config = _configuration(folder, images, steps)
    run_training(config, on_step=lambda *_: readings.append(resident_kib()))
    slope, interval = slope_of(readings[len(readings) // 2 :])
    thirds = [readings[0], readings[len(readings) // 2], readings[-1]]
    return {
        "slope_kib_per_step": round(slope, 3),
        "interval": [round(bound, 3) for bound in interval],
        "steps": steps,
        "images_per_study": images,
        "resident_mib": [reading // 1024 for reading in thirds],
    }


def resident_kib() -> int:
    """Return the resident memory of this process in KiB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def slope_of(readings: Sequence[int]) -> tuple[float, tuple[float, float]]:
    """Fit a line to equally spaced readings.

    Args:
        readings: At least one for each block.

    Returns:
        The least-squares slope and a 95 % interval for the mean growth, both a step.
    """
    middle, mean = (len(readings) - 1) / 2, fmean(readings)
    spread = sum((step - middle) ** 2 for step in range(len(readings)))
    slope = sum((step - middle) * (value - mean) for step, value in enumerate(readings)) / spread
    size = len(readings) // _BLOCKS
    means = [fmean(readings[k * size : (k + 1) * size]) for k in range(_BLOCKS)]
    steps = [(after - before) / size for before, after in pairwise(means)]
    half = _T_8 * stdev(steps) / math.sqrt(len(steps))
    return slope, (slope - half, slope + half)


def _configuration(folder: Path, images: int, steps: int) -> Any:
    """Write studies and a checkpoint, and return a run on them."""
    from editgrpo.config import (
        DataConfig,
        DType,
        ModelConfig,
        OptimConfig,
        RolloutConfig,
        TrainConfig,
    )
    from editgrpo.training.policy.tiny import TinyModelConfig, write_tiny_checkpoint

    texts = _write_studies(folder / "studies", images)
    shape = TinyModelConfig(hidden_size=32, layers=2, vision_layers=1, heads=2, vocabulary=400)
    write_tiny_checkpoint(folder / "checkpoint", texts, shape, seed=5)
    return TrainConfig(
        # The tower is trained, so that every step prepares its images anew.
        model=ModelConfig(
            path=str(folder / "checkpoint"), dtype=DType.FLOAT32, freeze_vision_tower=False
        ),
        data=DataConfig(folder=str(folder / "studies"), max_images=images),
        optim=OptimConfig(learning_rate=1e-9),
        rollout=RolloutConfig(group_size=4, max_completion_tokens=24, temperature=0.01),
        steps=steps,
        prompts_per_step=4,
        save_every=10 * steps,
        max_dropped_share=0.9,
        output=str(folder / "run"),
    )


def _write_studies(folder: Path, images: int) -> list[str]:
    """Write training studies, half of their images those of a prior study; return their texts."""
    from benchmarks.start_up_set import write_prepared
    from editgrpo.data.prompt import build_messages
    from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View

    draw = random.Random(0)
    studies = []
    for number in range(_STUDIES):
        prior = images // 2
        timepoints = [Timepoint.CURRENT] * (images - prior) + [Timepoint.PRIOR] * prior
        studies.append(
            Study(
                study_id=f"s{number}",
                patient_id=f"p{number}",
                split=Split.TRAIN,
                images=tuple(
                    StudyImage(image_id=f"s{number}-{k}", view=View.FRONTAL, timepoint=timepoint)
                    for k, timepoint in enumerate(timepoints)
                ),
                prior_study_id=f"before-s{number}" if prior else "",
                findings=" ".join(draw.sample(_SENTENCES, 3)),
            )
        )
    write_prepared(folder, studies)
    texts = [study.findings for study in studies]
    for study in studies:
        parts = build_messages(study, max_images=images).messages[0]["content"]
        texts.append("".join(part.get("text", "") for part in parts))
    return texts


if __name__ == "__main__":
    main()
