"""Measure what a training run does with 150,000 prepared studies before its first step.

    .venv/bin/python -m benchmarks.start_up [--studies 150000] [--keep FOLDER]

A set of training studies with invented reports, priors and some 1.7 current images each (tiny ones:
their number counts here) is written through the library's own writers. Then, in a process of its
own, for each of two:

- `data`: load the training split, take the first study with its pixels, then 32 studies in random
  order with theirs, as a step does;
- `trainer`: the same, in a process that has imported the trainer and its libraries, whose seconds
  and memory are given apart.

The claim: less than 5 s and less than 1 GiB for what the data takes. The last line printed is one
JSON object.
"""

import argparse
import json
import os
import random
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.children import measured_by_child
from benchmarks.memory import peak_memory_mib

LIMIT_S, LIMIT_MIB = 5, 1024
STUDIES = 150_000
_PROMPTS_PER_STEP = 32


def main() -> None:
    """Write the set, measure in other processes, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--keep", type=Path, help="leave the set here, or use the one that is")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--trainer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure, with_trainer=arguments.trainer)))
        return
    with tempfile.TemporaryDirectory(prefix="editgrpo-start-up-") as temporary:
        folder = arguments.keep or Path(temporary) / "studies"
        began = time.perf_counter()
        if not folder.exists():
            # Not above: a process that measures shall not pay for what writing needs.
            from benchmarks.start_up_set import write_studies

            write_studies(folder, arguments.studies)
        written_s = round(time.perf_counter() - began, 1)
        result: dict[str, Any] = {
            name: measured_by_child("benchmarks.start_up", "--measure", folder, *words)
            for name, words in (("data", ()), ("trainer", ("--trainer",)))
        }
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    alone = result["data"]
    result |= {"written_s": written_s, "folder_mib": size // 2**20, "cores": os.cpu_count()}
    result["within_limits"] = alone["process_s"] < LIMIT_S and alone["peak_memory_mib"] < LIMIT_MIB
    print(json.dumps(result))


def measure(folder: Path, *, with_trainer: bool) -> dict[str, Any]:
    """Start up in this process."""
    before = time.perf_counter()
    if with_trainer:
        import_module("editgrpo.training.trainer")
    from editgrpo.data.prepared.store import StudySet
    from editgrpo.data.study import Split

    imports_s, imports_mib = time.perf_counter() - before, peak_memory_mib()
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def done(stage: str) -> None:
        seconds[stage] = round(time.perf_counter() - began, 3)

    studies = StudySet.load(folder, split=Split.TRAIN)
    done("loaded")
    first = studies[0]
    done("first study")
    studies.images.pixels(first.images[0].image_id)
    done("first pixels")
    for index in random.Random(0).sample(range(len(studies)), _PROMPTS_PER_STEP):
        for image in studies[index].images:
            studies.images.pixels(image.image_id)
    done("first step")
    characters = sum(len(study_id) for study_id in studies.table["study_id"].to_pylist())
    done("all ids")
    return {
        "studies": len(studies),
        "images": len(studies.images),
        "characters_of_ids": characters,
        "imports_s": round(imports_s, 2),
        "imports_mib": imports_mib,
        "seconds_since_imports": seconds,
        "peak_memory_mib": peak_memory_mib(),
    }


if __name__ == "__main__":
    main()
